// The restartable sequence for x86-64.
#pragma once

/// Adds to the current processor's slot if the cell's mode lets it. Returns false, with nothing added, when it does not,
/// or when the thread is not registered for sequences.
static inline __attribute__((always_inline)) bool qs_rseq_add(struct qs_cell *cell, int64_t difference) {
  __asm__ goto(
      // The descriptor, `struct rseq_cs`: version and flags are 0; start, length, and where to go on an abort. Writable,
      // because a position-independent program has to relocate it. "?": in the section group of the function that this is
      // inlined into, so that the linker drops both or none.
      ".pushsection __rseq_cs, \"aw?\"\n\t"
      ".balign 32\n"
      "3:\n\t"
      ".long 0, 0\n\t"
      ".quad 1f, 2f - 1f, 4f\n\t"
      ".popsection\n\t"
      // For debuggers: where the descriptors are, and every way out of a sequence but its end. Single-stepping aborts a
      // sequence each time; a debugger that knows its exits can step over it.
      ".pushsection __rseq_cs_ptr_array, \"aw?\"\n\t"
      ".quad 3b\n\t"
      ".popsection\n\t"
      ".pushsection __rseq_exit_point_array, \"aw?\"\n\t"
      ".quad 1f, %l[slow]\n\t"
      ".popsection\n"
      // Announces the sequence: the kernel compares the instruction pointer with the descriptor's range. From here on an
      // interruption is an abort. An abort clears the announcement, so it comes back here.
      "5:\n\t"
      QS_RSEQ_ANNOUNCE("leaq 3b(%%rip), %%rax\n\t"
                       "movq %%rax, %%fs:%c[cs](%[rseq])\n")
      "1:\n\t"
      // The processor, inside the sequence: it is the current one until the end. The load clears rax's upper half.
      "movl %%fs:%c[cpu](%[rseq]), %%eax\n\t"
      // One comparison, unsigned, for three things: the mode is live; the processor has a slot; the thread is registered
      // (else its processor is -1 or -2). Inside the sequence, or a barrier could not make it be read again.
      "cmpl (%[cell]), %%eax\n\t"
      "jae %l[slow]\n\t"
      QS_RSEQ_IN_BETWEEN
      "shlq %[shift], %%rax\n\t"
      // The commit: one instruction, the last. It has no lock prefix: an interruption comes before or after it, and no
      // other processor adds to this slot.
      "addq %[difference], (%[slot], %%rax)\n"
      "2:\n\t"
      // Not needed for the count. But the kernel reads the descriptor that is announced whenever the thread is
      // interrupted, also later: if it lies in a library that was unloaded meanwhile, the process dies.
      "movq $0, %%fs:%c[cs](%[rseq])\n\t"
      // Off the way. The kernel jumps only behind the signature that the process registered with: so an overwritten
      // descriptor cannot send it anywhere. As an instruction it is `ud1 0x53053053(%rip), %edi`, which traps.
      ".pushsection __rseq_failure, \"ax?\"\n\t"
      ".byte 0x0f, 0xb9, 0x3d\n\t"
      ".long 0x53053053\n"
      "4:\n\t"
      "jmp 5b\n\t"
      ".popsection"
      :
      : [cell] "r"(cell), [slot] "r"(cell->slot), [difference] "er"(difference), [rseq] "r"(qs_rseq_offset),
        [shift] "i"(QS_SLOT_SHIFT), [cs] "i"(QS_RSEQ_CS), [cpu] "i"(QS_RSEQ_CPU_ID)
      : "memory", "cc", "rax"
      : slow);
  return true;
slow:
  // The announcement goes here as well.
  __asm__ volatile("movq $0, %%fs:%c[cs](%[rseq])" : : [rseq] "r"(qs_rseq_offset), [cs] "i"(QS_RSEQ_CS) : "memory");
  return false;
}
