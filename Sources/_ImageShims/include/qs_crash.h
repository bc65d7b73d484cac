// The table of modules that crash reports and debuggers read, and the handler that writes reports.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define QS_MODULE_TABLE_VERSION 1u
#define QS_MODULE_CAPACITY 256u

enum qs_module_state {
  QS_MODULE_UNUSED = 0,    ///< nothing was recorded
  QS_MODULE_MAPPING = 1,   ///< the loader maps it, on `thread`; its place is not known yet
  QS_MODULE_LOADED = 2,    ///< from its `init` until its image is unmapped
  QS_MODULE_GONE = 3,      ///< its image was unmapped
  QS_MODULE_RESIDENT = 4,  ///< it was unloaded, and its image stays mapped
};

/// What was known of one load of one module. A core file contains it: `qs_module_table` is a
/// symbol, and `Scripts/quiescence-gdb.py` reads it.
struct qs_module_record {
  /// Odd while the record changes.
  uint32_t sequence;
  uint32_t state;       ///< a qs_module_state
  int32_t thread;       ///< the thread that maps it
  uint32_t reserved;
  uint64_t start, end;  ///< the addresses of its image; 0 before it is mapped
  uint64_t changed;     ///< when `state` changed: CLOCK_MONOTONIC, in nanoseconds
  /// Texts are cut, and end with a zero.
  char name[64];
  char version[32];
  char path[256];
};

struct qs_module_table {
  uint32_t version;      ///< QS_MODULE_TABLE_VERSION
  uint32_t record_size;  ///< sizeof(struct qs_module_record)
  uint32_t capacity;     ///< QS_MODULE_CAPACITY
  uint32_t reserved;
  struct qs_module_record records[QS_MODULE_CAPACITY];
};

extern struct qs_module_table qs_module_table;

/// Records a load that begins on the calling thread. Takes the place of the module that has been
/// gone for the longest time. Returns its index; -1 if all places are in use. Callers take turns.
int qs_module_record_begin(const char *name, const char *version, const char *path);

/// Records where the image is; -1 as index does nothing. Callers take turns.
void qs_module_record_place(int index, uintptr_t start, uintptr_t end);

/// Changes the state, a `qs_module_state`. Callers take turns.
void qs_module_record_state(int index, uint32_t state);

/// The record of the module at an address: a loaded one before one that is gone, and the latest of
/// these. -1 if there is none. Async-signal-safe.
int qs_module_record_at(uintptr_t address);

/// Copies a record that may be changing. 0, or -1 if it kept changing or is not in use.
/// Async-signal-safe.
int qs_module_record_copy(int index, struct qs_module_record *copy);

/// Installs handlers of the signals that end a process after an error in its code. They write a
/// report to `descriptor`. 0, or an errno. A second call changes the descriptor.
int qs_crash_install(int descriptor);
