// The restartable sequence for x86-64.
#pragma once

/// Adds to the current processor's slot if the cell's mode is live. Returns false, without adding,
/// if it is not, or if the thread is not registered for sequences.
static inline __attribute__((always_inline)) bool qs_rseq_add(struct qs_cell *cell, int64_t difference) {
  __asm__ goto(
      // The descriptor, `struct rseq_cs`: version and flags are 0; then start, length, and the
      // abort address. Writable, because a position-independent program must relocate it. "?" puts
      // it into the section group of the function that this is inlined into, so that the linker
      // drops both or none.
      ".pushsection __rseq_cs, \"aw?\"\n\t"
      ".balign 32\n"
      "3:\n\t"
      ".long 0, 0\n\t"
      ".quad 1f, 2f - 1f, 4f\n\t"
      ".popsection\n\t"
      // For debuggers: the descriptors, and every exit of a sequence except its end.
      // Single-stepping aborts a sequence each time; a debugger that knows the exits can step over
      // it.
      ".pushsection __rseq_cs_ptr_array, \"aw?\"\n\t"
      ".quad 3b\n\t"
      ".popsection\n\t"
      ".pushsection __rseq_exit_point_array, \"aw?\"\n\t"
      ".quad 1f, %l[slow]\n\t"
      ".popsection\n"
      // Announces the sequence: the kernel compares the instruction pointer with the descriptor's
      // range. From here on an interruption is an abort. An abort clears the announcement, so it
      // jumps back to here.
      "5:\n\t"
      QS_RSEQ_ANNOUNCE("leaq 3b(%%rip), %%rax\n\t"
                       "movq %%rax, %%fs:%c[cs](%[rseq])\n")
      "1:\n\t"
      // The processor, read inside the sequence: it stays the current one until the end. The load
      // clears rax's upper half.
      "movl %%fs:%c[cpu](%[rseq]), %%eax\n\t"
      // One unsigned comparison tests three things: the mode is live; the processor has a slot; the
      // thread is registered (otherwise its processor is -1 or -2). Inside the sequence, because
      // only then does a barrier cause it to be repeated.
      "cmpl (%[cell]), %%eax\n\t"
      "jae %l[slow]\n\t"
      QS_RSEQ_IN_BETWEEN
      "shlq %[shift], %%rax\n\t"
      // The commit: one instruction, the last. It needs no lock prefix: an interruption comes
      // before or after it, and no other processor adds to this slot.
      "addq %[difference], (%[slot], %%rax)\n"
      "2:\n\t"
      // Not needed for the count. But the kernel also reads an announced descriptor at later
      // interruptions: if it is in a library that was unloaded in between, the kernel kills the
      // process.
      "movq $0, %%fs:%c[cs](%[rseq])\n\t"
      // Out of the normal path. The kernel jumps only to an address that is preceded by the
      // signature with which the process has registered, so an overwritten descriptor cannot
      // redirect it. As an instruction, the signature is `ud1 0x53053053(%rip), %edi`, which traps.
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
  // Clears the announcement on this exit too.
  __asm__ volatile("movq $0, %%fs:%c[cs](%[rseq])" : : [rseq] "r"(qs_rseq_offset), [cs] "i"(QS_RSEQ_CS) : "memory");
  return false;
}
