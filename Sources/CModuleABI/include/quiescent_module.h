// The one header a module author includes.
//
// A module is a shared object with one exported symbol, `quiescent_module`, which
// QUIESCENT_MODULE defines:
//
//     #include "quiescent_module.h"
//
//     static int init(const struct quiescent_host *host, struct quiescent_self *self) { … }
//     static int leave(void) { return 0; }
//
//     QUIESCENT_MODULE(.name = "counter", .init = init, .exit = leave)
//
// The rules, in the order in which they matter:
//
//  1. Hooks run inside a read-side critical section. A hook does not block, and what it keeps
//     beyond its return it counts first: `acquire`, or an own `bigref`.
//  2. The host unregisters every hook and object of a module before it calls `exit`, and waits
//     until every call into them has returned. A module unregisters nothing itself.
//  3. `exit` may refuse with -EBUSY while something of the module is still in use; its interfaces
//     are down by then, and the host calls `exit` again when somebody asks for the unload again.
//  4. When `init` fails, the host takes down what it had registered and unmaps the module;
//     `exit` is not called, so `init` frees what it allocated itself.
//     (A module with QUIESCENT_EXIT_AFTER_FAILED_INIT says that its `exit` cleans up what there is.)
//  5. Functions return 0 or a negative errno. Nothing here may be called after `exit` returned 0.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// What this header describes. A host refuses a module that was built for another number.
#define QUIESCENT_MODULE_ABI 1u

/// What a hook decides. The first hook that does not accept ends the round.
enum quiescent_verdict {
  QUIESCENT_ACCEPT = 0,  ///< go on to the next hook
  QUIESCENT_DROP = 1,    ///< discard the argument
  QUIESCENT_STOLEN = 2,  ///< the hook owns the argument now
};

/// The host's record of a module. Valid from `init` until `exit` has returned 0.
struct quiescent_self;

/// A distributed reference counter: cheap to take on every processor, exact once the module unloads.
/// While it is not zero the module stays loaded.
struct quiescent_bigref;

/// A hook. `argument` is what the hook point passes; `context` is the module's.
/// Returns a `quiescent_verdict`. Runs on any thread, on many at once, inside a section.
typedef int (*quiescent_hook)(void *argument, void *context);

/// Reads a named object: writes at most `capacity` bytes from `offset` on into `buffer`.
/// Returns the number of bytes, 0 at the end, or a negative errno. May block. The module stays
/// loaded while a client holds the object open.
typedef long (*quiescent_read)(void *context, char *buffer, size_t capacity, uint64_t offset);

/// What the host offers. Every function may be called from `init` on, from any thread;
/// the last column of the comments says what is safe inside a hook.
struct quiescent_host {
  uint32_t abi;   ///< QUIESCENT_MODULE_ABI of the host
  uint32_t size;  ///< sizeof(struct quiescent_host) of the host: later fields may be added

  /// Puts `hook` on the hook point called `point`, lower priorities first, and starts calls at once.
  /// `argument_type` must be the one the hook point passes, so that no module reads another host's
  /// argument as its own. -ENOENT no such point, -EPROTOTYPE another type, -EBUSY when the module is not
  /// coming or live. Not inside a hook.
  int (*register_hook)(struct quiescent_self *self, const char *point, const char *argument_type,
                       int priority, quiescent_hook hook, void *context);

  /// Publishes a named object. -EEXIST when the name is taken. Not inside a hook.
  int (*publish)(struct quiescent_self *self, const char *name, quiescent_read read, void *context);

  /// Takes a reference on the module: it stays loaded until `release`. -EBUSY once it is unloading.
  /// Hook: yes.
  int (*acquire)(struct quiescent_self *self);

  /// Gives a reference back. Inside the module's own code only where the caller is a hook or a
  /// callback of the host: the code that follows the call could be unmapped otherwise. Hook: yes.
  void (*release)(struct quiescent_self *self);

  /// Makes a counter that keeps the module loaded while it is not zero. `label` names it to whoever
  /// asks why the module is busy. The host frees it. NULL without memory. Not inside a hook.
  struct quiescent_bigref *(*bigref_create)(struct quiescent_self *self, const char *label);

  /// Counts one up: inside a hook, or while holding a count already. Hook: yes.
  void (*bigref_acquire)(struct quiescent_bigref *bigref);

  /// Counts one down. Hook: yes.
  void (*bigref_release)(struct quiescent_bigref *bigref);

  /// 1 when nobody holds it and nobody can take it any more: exact in `exit`, 0 before the unload.
  int (*bigref_is_zero)(struct quiescent_bigref *bigref);

  /// About how many hold it; any time. Hook: yes, though it visits every processor.
  int64_t (*bigref_approximate)(struct quiescent_bigref *bigref);

  /// Calls `function(argument)` when every hook that runs now has returned: for memory that hooks may
  /// still read. The module stays mapped until the call has returned. Hook: yes.
  int (*retire)(struct quiescent_self *self, void (*function)(void *), void *argument);

  /// Asks the host to unload this module, and returns at once: 0 when the request is on its way to the
  /// host's module thread. -EDEADLK inside a hook, `init` or `exit`, where the module would wait for
  /// itself: see `unload_later`. Hook: yes, it answers -EDEADLK.
  int (*unload)(struct quiescent_self *self);

  /// Hands a line of text to the host's log. Hook: no, it may block.
  void (*log)(struct quiescent_self *self, const char *line);

  // From here on what an older host does not have: ask with QUIESCENT_HOST_HAS first, or use the functions and macros below.

  /// As `acquire`, under a label, which is copied: whoever is told that the module is busy is told it. -EINVAL without a label.
  /// Hook: yes; takes a short lock.
  int (*acquire_for)(struct quiescent_self *self, const char *label);

  /// As `release`, for a reference that was taken under an equal label. Ends the process when there is none. Hook: yes.
  void (*release_for)(struct quiescent_self *self, const char *label);

  /// Asks the host to unload this module when the caller has left it, and returns at once: 0, or -EAGAIN when the host has no thread
  /// for it. The host waits for whoever uses the module, as `quiesce rmmod --wait` does, and so for the hook or the
  /// callback that asks: what it does after this call is done in mapped code. In `init` it means "right after"; in `exit`, "again, if
  /// this refuses". It asks for this load of the module, and for no later one. Hook: yes.
  int (*unload_later)(struct quiescent_self *self);
};

/// Whether the host has the field. A module that was built against this header may be loaded by a host that was built against an
/// older one: its structure ends earlier, and what lies behind its `size` must not be read.
#define QUIESCENT_HOST_HAS(host, field) \
  ((host)->size >= offsetof(struct quiescent_host, field) + sizeof((host)->field))

/// `acquire_for`, or plain `acquire` in a host without it.
static inline int quiescent_acquire_for(const struct quiescent_host *host, struct quiescent_self *self,
                                        const char *label) {
  return QUIESCENT_HOST_HAS(host, acquire_for) ? host->acquire_for(self, label) : host->acquire(self);
}

/// `release_for`, or plain `release` in a host without it.
static inline void quiescent_release_for(const struct quiescent_host *host, struct quiescent_self *self,
                                         const char *label) {
  if (QUIESCENT_HOST_HAS(host, release_for))
    host->release_for(self, label);
  else
    host->release(self);
}

/// The place in the source where this stands: "file.c:17".
#define QUIESCENT_HERE __FILE__ ":" QUIESCENT_TEXT(__LINE__)
#define QUIESCENT_TEXT(value) QUIESCENT_TEXT_OF(value)
#define QUIESCENT_TEXT_OF(value) #value

/// Takes a reference under the name of this place, and keeps that in `label`, a `const char *`, for
/// whoever gives it back:
///
///     const char *label;
///     if (QUIESCENT_ACQUIRE_HERE(host, self, label) != 0) return -EBUSY;
///     …
///     quiescent_release_for(host, self, label);
#define QUIESCENT_ACQUIRE_HERE(host, self, label) quiescent_acquire_for(host, self, (label) = QUIESCENT_HERE)

/// What a parameter holds.
enum quiescent_parameter_kind {
  QUIESCENT_KIND_bool = 1,    ///< `bool`: y, n, yes, no, on, off, true, false, 1, 0
  QUIESCENT_KIND_int = 2,     ///< any signed integer type
  QUIESCENT_KIND_uint = 3,    ///< any unsigned integer type
  QUIESCENT_KIND_string = 4,  ///< an array of `char`
};

/// It can be changed while the module is loaded.
#define QUIESCENT_WRITABLE 1u

/// A parameter of a module, which QUIESCENT_PARAMETER and QUIESCENT_PARAMETER_LIST define.
struct quiescent_parameter {
  uint32_t size;      ///< sizeof(struct quiescent_parameter)
  uint32_t kind;      ///< of quiescent_parameter_kind
  uint32_t width;     ///< bytes of a number; 1 for a string
  uint32_t capacity;  ///< elements of a list, bytes of a string with its zero; 1 for a single number
  const char *name;   ///< unique in its module
  void *value;        ///< the variable; what it holds at first is the default
  uint32_t *count;    ///< how many elements of a list are in use; NULL for what is no list

  // What follows may be set in the macros.

  uint64_t flags;  ///< QUIESCENT_WRITABLE
  /// The least and the greatest number, both included; for `int` they are read as int64_t. Both 0: all that fit the type;
  /// one that is 0 where the other makes that senseless has no limit.
  uint64_t minimum, maximum;
  /// Somebody wants to change it while the module is loaded; not called for what is given at load, which `init` finds in the
  /// variable and may refuse. 0, or a negative errno: then it stays as it is. `value` is laid out as the variable. A number
  /// may be left to the host, which stores it with one atomic store when this has returned 0: a hook that reads it concurrently
  /// uses an atomic load. A string (`count` bytes and a zero) or a list (`count` elements) the host does not store: this
  /// takes it over, by `retire` for what hooks may be reading. Without it they cannot be changed. Runs on the host's module thread, and
  /// may block.
  int (*set)(const struct quiescent_parameter *parameter, const void *value, size_t count);
};

/// What a module exports.
struct quiescent_module {
  uint32_t abi;             ///< QUIESCENT_MODULE_ABI
  uint32_t size;            ///< sizeof(struct quiescent_module): 48 at least
  const char *name;         ///< unique in a host; letters, digits, `_`, `-` and `.`
  const char *version;      ///< for people; may be NULL
  const char *description;  ///< one line for people; may be NULL

  /// Sets up and registers. Returns 0 or a negative errno; then the module is not loaded.
  /// Keep `host` and `self`. Runs on the host's module thread, and may block.
  int (*init)(const struct quiescent_host *host, struct quiescent_self *self);

  /// Tears down; no hook, object or callback of the module is in use any more. 0, or -EBUSY.
  /// NULL: the module can never be unloaded. Runs on the host's module thread, and may block.
  int (*exit)(void);

  // From here on what `size` may leave out, and a module need not set.

  uint64_t flags;  ///< QUIESCENT_EXIT_AFTER_FAILED_INIT

  /// A first word before anything is unregistered, in the scheme that asks modules for it ("active-bit"): 0 when there are no
  /// users, and none can come any more; -EBUSY when there are. With `force`, send the users away and let none in. An unload that
  /// waits calls it when the users that the host knows have gone; by force it calls it before that.
  int (*cleanup)(int force);

  /// The interfaces are down and every call has returned; users of other kinds may be left. Before each first `exit`.
  void (*stop)(void);

  /// About how many users there are that the host does not know: for an unload that gives up early, and says why. Runs on the
  /// host's module thread.
  int64_t (*usecount)(void);

  /// From the first to behind the last. QUIESCENT_MODULE sets them.
  const struct quiescent_parameter *const *parameters, *const *parameters_end;
};

/// The host calls `exit` when `init` has failed, too: `init` cleans nothing up, and `exit` whatever it finds.
#define QUIESCENT_EXIT_AFTER_FAILED_INIT 1u

/// The name of the symbol that a host looks for.
#define QUIESCENT_MODULE_SYMBOL "quiescent_module"

/// Defines the exported symbol; the arguments are designated initializers of `struct quiescent_module`.
#define QUIESCENT_MODULE(...)                                                  \
  extern __attribute__((visibility("default"))) const struct quiescent_module  \
      quiescent_module;                                                        \
  const struct quiescent_module quiescent_module = {                           \
      .abi = QUIESCENT_MODULE_ABI, .size = sizeof(struct quiescent_module),      \
      .parameters = __start_quiescent_parameters,                                \
      .parameters_end = __stop_quiescent_parameters, __VA_ARGS__};

// MARK: - What is read from the file

/// A fact about the module, which `quiesce modinfo` and `quiesce depmod` read from the file without mapping it. Both are
/// string literals; `key` has no `=` in it, and `value` no line break:
///
///     QUIESCENT_INFO("author", "N. N.");
#define QUIESCENT_INFO(key, value) QUIESCENT_INFO_AT(key, value, __COUNTER__)
#define QUIESCENT_INFO_AT(key, value, number) QUIESCENT_INFO_NAMED(key, value, number)
#define QUIESCENT_INFO_NAMED(key, value, number)                        \
  static const char quiescent_info_##number[]                           \
      __attribute__((used, aligned(1), section(".quiescent.info"))) = key "=" value

/// The modules that this one calls or reads, separated by commas: loaded before it, and kept while it is.
#define QUIESCENT_DEPENDS(names) QUIESCENT_INFO("depends", names)

/// Modules that are wanted before and after this one, and whose absence is no error: "pre: a b post: c".
#define QUIESCENT_SOFTDEP(names) QUIESCENT_INFO("softdep", names)

/// Another name by which the module is requested; `*`, `?` and `[…]` match as in a shell. As many as needed.
#define QUIESCENT_ALIAS(pattern) QUIESCENT_INFO("alias", pattern)

// MARK: - Parameters

// The linker's, around everything in the section of that name; NULL both without any.
extern const struct quiescent_parameter *const __start_quiescent_parameters[]
    __attribute__((weak, visibility("hidden")));
extern const struct quiescent_parameter *const __stop_quiescent_parameters[]
    __attribute__((weak, visibility("hidden")));

/// A variable that whoever loads the module sets: `quiesce insmod drop limit=64`. Further arguments are designated initializers
/// of `struct quiescent_parameter`:
///
///     static int limit = 64;
///     QUIESCENT_PARAMETER(limit, int, "Shorter datagrams are dropped", .minimum = 1, .maximum = 1500)
#define QUIESCENT_PARAMETER(variable, of_kind, text, ...)                                           \
  QUIESCENT_PARAMETER_AT(variable, QUIESCENT_KIND_##of_kind, #of_kind, text,                        \
                         QUIESCENT_KIND_##of_kind == QUIESCENT_KIND_string ? 1 : sizeof(variable),  \
                         QUIESCENT_KIND_##of_kind == QUIESCENT_KIND_string ? sizeof(variable) : 1,  \
                         0, ##__VA_ARGS__)

/// An array of numbers, and a `uint32_t` that says how many of them are in use: `ports=53,123`.
#define QUIESCENT_PARAMETER_LIST(variable, in_use, of_kind, text, ...)                              \
  QUIESCENT_PARAMETER_AT(variable, QUIESCENT_KIND_##of_kind, "list of " #of_kind, text,             \
                         sizeof((variable)[0]), sizeof(variable) / sizeof((variable)[0]), &(in_use), \
                         ##__VA_ARGS__)

#define QUIESCENT_PARAMETER_AT(variable, of_kind, kind_text, text, one, many, in_use, ...)          \
  _Static_assert((one) == 1 || (one) == 2 || (one) == 4 || (one) == 8, #variable " is no number");  \
  static const struct quiescent_parameter quiescent_parameter_##variable = {                        \
      .size = sizeof(struct quiescent_parameter), .kind = (of_kind), .width = (one),                \
      .capacity = (many), .name = #variable, .value = &variable, .count = (in_use), ##__VA_ARGS__}; \
  static const struct quiescent_parameter *const quiescent_parameter_at_##variable                  \
      __attribute__((used, section("quiescent_parameters"))) = &quiescent_parameter_##variable;     \
  QUIESCENT_INFO("parm", #variable ":" text " (" kind_text ")")

// MARK: - Users that a module counts itself

/// An active bit and a count under one lock. `static struct quiescent_users users = QUIESCENT_USERS;` and, as `cleanup`,
/// `return quiescent_users_close(&users, force);`. After Daniel Phillips, July 2002.
struct quiescent_users {
  char lock;
  char closed;
  long count;
};

#define QUIESCENT_USERS {0, 0, 0}

static inline void quiescent_users_lock(struct quiescent_users *users) {
  while (__atomic_test_and_set(&users->lock, __ATOMIC_ACQUIRE)) {
  }
}

static inline void quiescent_users_unlock(struct quiescent_users *users) {
  __atomic_clear(&users->lock, __ATOMIC_RELEASE);
}

/// Counts a user, if the module is still active. 0 or -1. Inside a hook, or while the module is held otherwise.
static inline int quiescent_users_get(struct quiescent_users *users) {
  quiescent_users_lock(users);
  int closed = users->closed;
  if (!closed) users->count += 1;
  quiescent_users_unlock(users);
  return closed ? -1 : 0;
}

/// A user has gone. Like `release`, not the last thing that the module's own code does outside a hook.
static inline void quiescent_users_put(struct quiescent_users *users) {
  quiescent_users_lock(users);
  users->count -= 1;
  quiescent_users_unlock(users);
}

/// 0 when there are no users, and from here on none can come; -16 (EBUSY) when there are. With `force` none can come in
/// either case.
static inline int quiescent_users_close(struct quiescent_users *users, int force) {
  quiescent_users_lock(users);
  int busy = users->count != 0;
  // Test and change in one hold of the lock: a user that came in between would lose its module.
  if (!busy || force) users->closed = 1;
  quiescent_users_unlock(users);
  return busy ? -16 : 0;
}

#ifdef __cplusplus
}
#endif
