// Readers: how many threads, and which of them a grace period waits for.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum qs_flavor { QS_MEMB, QS_QSBR, QS_MB, QS_BP, QS_FLAVORS };

/// A thread, as people find it in `ps -L`.
struct qs_reader {
  int32_t id;
  char name[16];
  /// As in `ps`: 'R' if it runs or waits for a processor; 0 if the kernel does not tell.
  char state;
  /// Nanoseconds that it has run since it began; UINT64_MAX if the kernel does not tell.
  uint64_t processor_time;
};

/// Threads that are registered with the flavor through this library. For QS_BP a system call for
/// each of them.
uint32_t qs_readers_registered(uint32_t flavor);

/// The threads that the running grace period of the flavor waits for: up to `capacity` of them into
/// `readers`. Returns how many there are.
uint32_t qs_readers_holding(uint32_t flavor, struct qs_reader *readers, uint32_t capacity);

/// Before, and after a fork, in the parent and in the child. `lost_flavors`: a bit for each flavor
/// with a grace period under way, which waits for the calling thread.
void qs_registry_before_fork(uint32_t lost_flavors);
void qs_registry_after_fork_parent(void);
void qs_registry_after_fork_child(void);

/// How many forks lie between this process and the one that the library was loaded in.
uint32_t qs_fork_generation(void);

/// Has the three called around every fork of the process. Once.
void qs_fork_watch(void (*before)(void), void (*parent)(void), void (*child)(void));
