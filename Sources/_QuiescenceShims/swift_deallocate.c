// `deallocate()` of the pointer types, for the thread sanitizer; nothing in other builds.
//
// The toolchain's sanitizer takes a free for no access when it comes from code that is not compiled for it. These
// are: a version freed without a grace period would give no report.
#include "stand_in.h"

#if defined(QS_STANDS_IN)
#include <link.h>
#include <sanitizer/allocator_interface.h>

// Of the sanitizer, but not in its header.
void __tsan_write_range(void *address, unsigned long size);

// The code of this image, which is compiled for the sanitizer.
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

// Before there are other threads: what finds it later would order threads that nothing else orders.
__attribute__((constructor)) static void find_own_code(void) { dl_iterate_phdr(find_code, NULL); }

// As a write of all of it. Calls from libraries that are not compiled for the sanitizer are none of its business: it
// does not see what they order by. What the runtime frees on a last release does not come here.
static void announce(void *pointer, void *caller) {
  if (pointer != NULL && code_begin <= (uintptr_t)caller && (uintptr_t)caller < code_end)
    __tsan_write_range(pointer, __sanitizer_get_allocated_size(pointer));
}

// Optimized code calls the runtime below the pointer types.
#define RUNTIME "swift_slowDealloc"
static void *runtime;
void qs_deallocate(void *pointer, size_t size, size_t alignment) STANDS_IN_FOR(RUNTIME);
void qs_deallocate(void *pointer, size_t size, size_t alignment) {
  announce(pointer, __builtin_return_address(0));
  ((void (*)(void *, size_t, size_t))runtimes_own(RUNTIME, &runtime))(pointer, size, alignment);
}

// The rest passes through: the element's type, or a buffer's count and the type.
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
