// `deallocate()` of the pointer types, for the thread sanitizer; empty in other builds.
//
// The sanitizer does not treat a free as an access if it comes from code that is not instrumented,
// such as these functions. So freeing a version without a grace period would not be reported.
#include "stand_in.h"

#if defined(QS_STANDS_IN)
#include <link.h>
#include <sanitizer/allocator_interface.h>

// A function of the sanitizer that is not in its header.
void __tsan_write_range(void *address, unsigned long size);

// The code of this image, which is instrumented.
static uintptr_t code_begin, code_end;

static int find_code(struct dl_phdr_info *image, size_t size, void *unused) {
  (void)size, (void)unused;
  for (int i = 0; i < image->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &image->dlpi_phdr[i];
    uintptr_t begin = image->dlpi_addr + part->p_vaddr, end = begin + part->p_memsz;
    if (part->p_type == PT_LOAD && begin <= (uintptr_t)find_code && (uintptr_t)find_code < end) {
      code_begin = begin, code_end = end;
      return 1;
    }
  }
  return 0;
}

// Before there are other threads: a later initialization would order threads that nothing else
// orders.
__attribute__((constructor)) static void find_own_code(void) { dl_iterate_phdr(find_code, NULL); }

// Announced as a write of the whole object. Calls from libraries that are not instrumented are left
// out, because the sanitizer does not see how they order threads. What the runtime frees at a last
// release does not come through here.
static void announce(void *pointer, void *caller) {
  if (pointer != NULL && code_begin <= (uintptr_t)caller && (uintptr_t)caller < code_end)
    __tsan_write_range(pointer, __sanitizer_get_allocated_size(pointer));
}

// Optimized code calls the runtime directly, below the pointer types.
#define RUNTIME "swift_slowDealloc"
static void *runtime;
void qs_deallocate(void *pointer, size_t size, size_t alignment) STANDS_IN_FOR(RUNTIME);
void qs_deallocate(void *pointer, size_t size, size_t alignment) {
  announce(pointer, __builtin_return_address(0));
  ((void (*)(void *, size_t, size_t))runtimes_own(RUNTIME, &runtime))(pointer, size, alignment);
}

// The other arguments are passed through: the element's type, or a buffer's count and the type.
#define METHOD(type, name)                                                                            \
  static void *method_##type;                                                                         \
  SWIFT void qs_deallocate_##type(void *pointer, void *second, void *third) STANDS_IN_FOR(name);      \
  SWIFT void qs_deallocate_##type(void *pointer, void *second, void *third) {                         \
    announce(pointer, __builtin_return_address(0));                                                   \
    void *own = runtimes_own(name, &method_##type);                                                   \
    ((SWIFT void (*)(void *, void *, void *))own)(pointer, second, third);                            \
  }

METHOD(UnsafePointer, "$sSP10deallocateyyF")
METHOD(UnsafeMutablePointer, "$sSp10deallocateyyF")
METHOD(UnsafeBufferPointer, "$sSR10deallocateyyF")
METHOD(UnsafeMutableBufferPointer, "$sSr10deallocateyyF")
METHOD(UnsafeRawPointer, "$sSV10deallocateyyF")
METHOD(UnsafeMutableRawPointer, "$sSv10deallocateyyF")
METHOD(UnsafeRawBufferPointer, "$sSW10deallocateyyF")
METHOD(UnsafeMutableRawBufferPointer, "$sSw10deallocateyyF")
#endif
