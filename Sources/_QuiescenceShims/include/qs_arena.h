// Cells: a word of mode, six words of shared state, and a slot of 8 bytes on every processor.
//
// The slots of 8192 cells lie side by side, those of one processor in pages of its own: a cell
// costs 8 bytes a processor, not a cache line, and the kernel puts each page on the node of the
// processor that touches it first, which is the one that counts there. A slot's address is a sum,
// without a table in between:
//
//     cell->slot + (processor << QS_SLOT_SHIFT)
//
// Growing maps another block of 8192; no cell ever moves, and none is unmapped: what is used after
// it was returned finds QS_CELL_FREE and traps, instead of unmapped memory.
#pragma once

#include <stdbool.h>
#include <stdint.h>

/// Log2 of the distance between a cell's slots on two processors: 8192 slots of 8 bytes. A multiple
/// of every page size that Linux has.
#define QS_SLOT_SHIFT 16

/// The upper half of `qs_cell.mode`, as far as the arena knows it. The owner of a cell uses numbers
/// from QS_CELL_FIRST_PHASE on.
enum qs_phase { QS_CELL_FREE, QS_CELL_RETIRED, QS_CELL_FIRST_PHASE };

/// One cache line: no thread writes to it while threads count on their processors' slots. (The
/// arena aligns it. As an attribute, Swift would not import it.)
struct qs_cell {
  /// The lower half, 4 bytes at offset 0: how many processors may count on their slots, or 0. So
  /// one comparison with the number of the processor says both that the mode is live and that there
  /// is such a slot. The upper half: the phase.
  uint64_t mode;
  /// The slot on processor 0; NULL when there was no memory for slots: then `mode` must say 0
  /// processors.
  char *slot;
  /// The owner's own.
  uint64_t state[6];
};

_Static_assert(sizeof(struct qs_cell) == 64, "a cell is a cache line");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the sequences read the lower half of `mode` at offset 0");

/// A cell in QS_CELL_FREE, all slots zero. From the thread's own magazine; every 32nd takes a lock.
/// Traps without memory.
struct qs_cell *qs_cell_create(void);

/// Takes back a cell in QS_CELL_RETIRED that no thread counts on any more. To the thread's own
/// magazine, as above.
void qs_cell_recycle(struct qs_cell *cell);

/// Guards what a cell's owner keeps in `state`. Shared with other cells: hold it briefly, and one
/// at a time. Survives a fork.
void qs_cell_lock(const struct qs_cell *cell);
void qs_cell_unlock(const struct qs_cell *cell);

/// How many processors have slots: those that the system lists as possible. A processor with a
/// higher number has none, as where a container shows fewer than there are: what counts there must
/// not count on slots.
uint32_t qs_cell_processors(void);

/// How much the arena has mapped.
struct qs_arena_usage {
  /// Blocks of 8192 cells.
  uint64_t blocks;
  /// Cells that were ever handed out of them, and so take memory.
  uint64_t cells;
  /// Cells that have no slots, because the kernel refused a block.
  uint64_t without_slots;
};
struct qs_arena_usage qs_arena_usage(void);
