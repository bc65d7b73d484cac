// The restartable sequence for aarch64.
#pragma once

/// Adds to the current processor's slot if the cell's mode lets it. Returns false, with nothing added, when it does not,
/// or when the thread is not registered for sequences.
static inline __attribute__((always_inline)) bool qs_rseq_add(struct qs_cell *cell, int64_t difference) {
  char *rseq = (char *)__builtin_thread_pointer() + qs_rseq_offset;
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
      // For debuggers: where the descriptors are, and every way out of a sequence but its end.
      ".pushsection __rseq_cs_ptr_array, \"aw?\"\n\t"
      ".quad 3b\n\t"
      ".popsection\n\t"
      ".pushsection __rseq_exit_point_array, \"aw?\"\n\t"
      ".quad 1f, %l[slow]\n\t"
      ".popsection\n"
      // Announces the sequence: its descriptor's page, then the address in it. From here on an interruption is an abort.
      // An abort clears the announcement, so it comes back here.
      "5:\n\t"
      QS_RSEQ_ANNOUNCE("adrp x16, 3b\n\t"
                       "add x16, x16, :lo12:3b\n\t"
                       "str x16, [%[rseq], %[cs]]\n")
      "1:\n\t"
      // The mode, with acquire: who resurrects a cell clears its slots and then stores the mode. A plain load could be
      // followed by a load of the slot from before it was cleared.
      "ldar w16, [%[cell]]\n\t"
      // The processor, inside the sequence: it is the current one until the end. The load clears x17's upper half.
      "ldr w17, [%[rseq], %[cpu]]\n\t"
      // One comparison, unsigned, for three things: the mode is live; the processor has a slot; the thread is registered
      // (else its processor is -1 or -2). Inside the sequence, or a barrier could not make it be read again.
      "cmp w17, w16\n\t"
      "b.hs %l[slow]\n\t"
      QS_RSEQ_IN_BETWEEN
      "add x17, %[slot], x17, lsl %[shift]\n\t"
      "ldr x16, [x17]\n\t"
      "add x16, x16, %[difference]\n\t"
      // The commit: one store, the last. Plain: the barrier of the slow side orders what the thread did before it.
      "str x16, [x17]\n"
      "2:\n\t"
      // Not needed for the count. But the kernel reads the descriptor that is announced whenever the thread is
      // interrupted, also later: if it lies in a library that was unloaded meanwhile, the process dies.
      "str xzr, [%[rseq], %[cs]]\n\t"
      // Off the way. The kernel jumps only behind the signature that the process registered with: so an overwritten
      // descriptor cannot send it anywhere. As an instruction it is `brk #0x45e0`, which traps.
      ".pushsection __rseq_failure, \"ax?\"\n\t"
      ".inst 0xd428bc00\n"
      "4:\n\t"
      "b 5b\n\t"
      ".popsection"
      :
      : [cell] "r"(cell), [slot] "r"(cell->slot), [difference] "r"(difference), [rseq] "r"(rseq),
        [shift] "i"(QS_SLOT_SHIFT), [cs] "i"(QS_RSEQ_CS), [cpu] "i"(QS_RSEQ_CPU_ID)
      : "memory", "cc", "x16", "x17"
      : slow);
  return true;
slow:
  // The announcement goes here as well.
  __asm__ volatile("str xzr, [%[rseq], %[cs]]" : : [rseq] "r"(rseq), [cs] "i"(QS_RSEQ_CS) : "memory");
  return false;
}
