#define _GNU_SOURCE
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "process_edges.h"

extern const ptrdiff_t __rseq_offset __attribute__((weak));

bool leave_restartable_sequences(uint32_t processor) {
#if defined(__x86_64__)
  uint32_t signature = 0x53053053;
#else
  uint32_t signature = 0xd428bc00;
#endif
  if (&__rseq_offset == NULL) return false;
  uint32_t *area = (uint32_t *)((char *)__builtin_thread_pointer() + __rseq_offset);
  // The size that the C library has registered is not known to programs.
  for (unsigned int size = 32; size <= 256; size += 4) {
    if (syscall(SYS_rseq, area, size, 1 /* RSEQ_FLAG_UNREGISTER */, signature) != 0) continue;
    // cpu_id_start and cpu_id, which the kernel does not write any more.
    area[0] = 0;
    *(volatile uint32_t *)&area[1] = processor;
    return true;
  }
  return false;
}
