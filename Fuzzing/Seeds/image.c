// A module with something of each kind that the inspection reads, as small as it can be.
#include "quiescent_module.h"
#include <stdlib.h>
#include <string.h>

static int limit = 3;
QUIESCENT_PARAMETER(limit, int, "A limit", .minimum = 1, .maximum = 9);
QUIESCENT_DEPENDS("base");
QUIESCENT_ALIAS("net-*");
QUIESCENT_INFO("license", "MIT");
static __thread int calls = 7;
static const char *const words[] = {"one", "two", "three"};

#ifdef CONSTRUCTORS
static int made;
__attribute__((constructor)) static void make(void) { made += (int)strlen(words[0]); }
__attribute__((destructor)) static void unmake(void) { made = 0; }
#endif

static int init(const struct quiescent_host *host, struct quiescent_self *self) {
  (void)host, (void)self;
  calls += limit;
  return getenv(words[calls % 3]) ? -1 : 0;
}
static int leave(void) { return 0; }
QUIESCENT_MODULE(.name = "fuzz", .version = "1.0", .init = init, .exit = leave)
