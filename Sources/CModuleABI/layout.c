// The binary layout that modules are built against. Fields are added at the ends alone: any other
// change here is a new QUIESCENT_MODULE_ABI.
#include "quiescent_module.h"

#if UINTPTR_MAX == UINT64_MAX
_Static_assert(sizeof(struct quiescent_module) == 112, "layout of quiescent_module");
_Static_assert(offsetof(struct quiescent_module, flags) == 48, "what every module has ends here");
_Static_assert(offsetof(struct quiescent_module, init) == 32, "offset of init");
_Static_assert(offsetof(struct quiescent_module, state_version) == 96, "offset of state_version");
_Static_assert(sizeof(struct quiescent_parameter) == 72, "layout of quiescent_parameter");
_Static_assert(sizeof(struct quiescent_host) == 144, "layout of quiescent_host");
_Static_assert(offsetof(struct quiescent_host, acquire_for) == 104, "what every host has ends here");
_Static_assert(offsetof(struct quiescent_host, state) == 136, "offset of state");
_Static_assert(sizeof(struct quiescent_services) == 72, "layout of quiescent_services");
#endif
