// The restartable sequence for aarch64.
#pragma once

/// Adds to the current processor's slot if the cell's mode is live. Returns false, without adding,
/// if it is not, or if the thread is not registered for sequences.
static inline __attribute__((always_inline)) bool qs_rseq_add(struct qs_cell *cell, int64_t difference) {
  char *rseq = (char *)__builtin_thread_pointer() + qs_rseq_offset;
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
      ".pushsection __rseq_cs_ptr_array, \"aw?\"\n\t"
      ".quad 3b\n\t"
      ".popsection\n\t"
      ".pushsection __rseq_exit_point_array, \"aw?\"\n\t"
      ".quad 1f, %l[slow]\n\t"
      ".popsection\n"
      // Announces the sequence: the descriptor's page, then its address. From here on an
      // interruption is an abort. An abort clears the announcement, so it jumps back to here.
      "5:\n\t"
      QS_RSEQ_ANNOUNCE("adrp x16, 3b\n\t"
                       "add x16, x16, :lo12:3b\n\t"
                       "str x16, [%[rseq], %[cs]]\n")
      "1:\n\t"
      // Loads the mode with acquire: a thread that resurrects a cell clears its slots and then
      // stores the mode. After a plain load of the mode, the load of the slot could return a value
      // from before it was cleared.
      "ldar w16, [%[cell]]\n\t"
      // The processor, read inside the sequence: it stays the current one until the end. The load
      // clears x17's upper half.
      "ldr w17, [%[rseq], %[cpu]]\n\t"
      // One unsigned comparison tests three things: the mode is live; the processor has a slot; the
      // thread is registered (otherwise its processor is -1 or -2). Inside the sequence, because
      // only then does a barrier cause it to be repeated.
      "cmp w17, w16\n\t"
      "b.hs %l[slow]\n\t"
      QS_RSEQ_IN_BETWEEN
      "add x17, %[slot], x17, lsl %[shift]\n\t"
      "ldr x16, [x17]\n\t"
      "add x16, x16, %[difference]\n\t"
      // The commit: one store, the last. Plain: the barrier of the slow side orders the thread's
      // earlier accesses.
      "str x16, [x17]\n"
      "2:\n\t"
      // Not needed for the count. But the kernel also reads an announced descriptor at later
      // interruptions: if it is in a library that was unloaded in between, the kernel kills the
      // process.
      "str xzr, [%[rseq], %[cs]]\n\t"
      // Out of the normal path. The kernel jumps only to an address that is preceded by the
      // signature with which the process has registered, so an overwritten descriptor cannot
      // redirect it. As an instruction, the signature is `brk #0x45e0`, which traps.
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
  // Clears the announcement on this exit too.
  __asm__ volatile("str xzr, [%[rseq], %[cs]]" : : [rseq] "r"(rseq), [cs] "i"(QS_RSEQ_CS) : "memory");
  return false;
}
