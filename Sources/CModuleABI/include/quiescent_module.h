// The one header that a module author includes. It needs the other three beside it.
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
// The rules, the most important first:
//
//  1. Hooks run inside a read-side critical section. A hook must not block. Before it keeps
//     anything beyond its return, it takes a reference: `acquire`, or a `bigref` of the module.
//  2. Before the host calls `exit`, it unregisters every hook and object of the module, and waits
//     until every call into them has returned. A module unregisters nothing itself.
//  3. `exit` may refuse with -EBUSY while something of the module is still in use. Its interfaces
//     are already unregistered then. The host calls `exit` again at the next request to unload.
//  4. If `init` fails, the host unregisters what `init` has registered, and unmaps the module. The
//     host does not call `exit`, so `init` must free what it has allocated. (For a module with
//     QUIESCENT_EXIT_AFTER_FAILED_INIT the host does call `exit`, which cleans up.)
//  5. Before `exit` returns 0, it ends all that would call the module later: threads, timers,
//     signal handlers, keys with destructors, and what it registered with other libraries. The host
//     looks for the first four, and keeps the image mapped if it finds one. It cannot tell whose a
//     file descriptor is, so `exit` closes those. `host->services` has threads, timers and storage
//     that the host ends by itself.
//  6. While another version of the module takes over, both run; each has variables of its own.
//  7. Functions return 0 or a negative errno. After `exit` has returned 0, call nothing of this.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "quiescent_parameters.h"
#include "quiescent_services.h"
#include "quiescent_users.h"

#ifdef __cplusplus
extern "C" {
#endif

/// The version of this interface. A host refuses a module that was built for another version.
#define QUIESCENT_MODULE_ABI 1u

/// What a hook decides. The first hook that does not accept ends the round.
enum quiescent_verdict {
  QUIESCENT_ACCEPT = 0,  ///< continue with the next hook
  QUIESCENT_DROP = 1,    ///< discard the argument
  QUIESCENT_STOLEN = 2,  ///< the hook owns the argument now
};

/// The host's record of a module. Valid from `init` until `exit` has returned 0.
struct quiescent_self;

/// A distributed reference counter: cheap to increment on every processor, exact once the module is
/// being unloaded. The module stays loaded while the counter is not zero.
struct quiescent_bigref;

/// A hook. The hook point passes `argument`; `context` is the module's. Returns a
/// `quiescent_verdict`. Runs inside a section, on any thread, and on several threads at once.
typedef int (*quiescent_hook)(void *argument, void *context);

/// Reads a named object: writes at most `capacity` bytes, from `offset` on, into `buffer`. Returns
/// the number of bytes, 0 at the end, or a negative errno. May block. The module stays loaded while
/// a client holds the object open.
typedef long (*quiescent_read)(void *context, char *buffer, size_t capacity, uint64_t offset);

/// The functions of the host. A module may call them from `init` on, on any thread. The last
/// sentence of each comment says whether a hook may call the function.
struct quiescent_host {
  uint32_t abi;   ///< the host's QUIESCENT_MODULE_ABI
  uint32_t size;  ///< the host's sizeof(struct quiescent_host); later versions add fields

  /// Registers `hook` on the hook point named `point`; calls start at once. Hooks with lower
  /// priority run first. `argument_type` must be the type that the hook point passes; a mismatch is
  /// refused, so no module misreads another host's argument. Errors: -ENOENT, no such point;
  /// -EPROTOTYPE, another type; -EBUSY, the module is neither coming nor live. Not inside a hook.
  int (*register_hook)(struct quiescent_self *self, const char *point, const char *argument_type,
                       int priority, quiescent_hook hook, void *context);

  /// Publishes a named object. -EEXIST if the name is in use. Not inside a hook.
  int (*publish)(struct quiescent_self *self, const char *name, quiescent_read read, void *context);

  /// Takes a reference to the module, which stays loaded until `release`. -EBUSY once the module is
  /// being unloaded. Inside a hook: yes.
  int (*acquire)(struct quiescent_self *self);

  /// Releases a reference. The module's own code may call this only inside a hook or a callback of
  /// the host; anywhere else, the code after the call could already be unmapped. Inside a hook:
  /// yes.
  void (*release)(struct quiescent_self *self);

  /// Creates a counter. The module stays loaded while the counter is not zero. EBUSY errors name
  /// the counter by `label`. The host frees the counter. NULL if there is no memory, or the module
  /// is being unloaded. Not inside a hook.
  struct quiescent_bigref *(*bigref_create)(struct quiescent_self *self, const char *label);

  /// Increments the counter. Call it inside a hook, or while the caller already holds a reference.
  void (*bigref_acquire)(struct quiescent_bigref *bigref);

  /// Decrements the counter. Inside a hook: yes.
  void (*bigref_release)(struct quiescent_bigref *bigref);

  /// 1 if the counter is zero and can no longer be incremented: exact in `exit`, and 0 before the
  /// unload.
  int (*bigref_is_zero)(struct quiescent_bigref *bigref);

  /// The approximate number of references, at any time. Inside a hook: yes, but it visits every
  /// processor.
  int64_t (*bigref_approximate)(struct quiescent_bigref *bigref);

  /// Calls `function(argument)` after every hook that is running now has returned: for memory that
  /// hooks may still read. The module stays mapped until the call has returned. Inside a hook: yes.
  int (*retire)(struct quiescent_self *self, void (*function)(void *), void *argument);

  /// Asks the host to unload this module, and returns at once: 0 if the request was passed to the
  /// host's module thread. -EDEADLK inside a hook, `init` or `exit`, where the module would wait
  /// for itself; see `unload_later`. Inside a hook: yes, it returns -EDEADLK.
  int (*unload)(struct quiescent_self *self);

  /// Passes a line of text to the host's log. May block, so not inside a hook.
  void (*log)(struct quiescent_self *self, const char *line);

  // Older hosts do not have the fields below. Test with QUIESCENT_HOST_HAS first, or use the
  // functions and macros below.

  /// Like `acquire`, under a label that is copied. The label appears in EBUSY errors. -EINVAL
  /// without a label. Inside a hook: yes; takes a short lock.
  int (*acquire_for)(struct quiescent_self *self, const char *label);

  /// Like `release`, for a reference that was taken under an equal label. Ends the process if there
  /// is none. Inside a hook: yes.
  void (*release_for)(struct quiescent_self *self, const char *label);

  /// Asks the host to unload this module after the caller has left it, and returns at once: 0, or
  /// -EAGAIN if the host has no thread for the request. Like `quiesce rmmod --wait`, the host waits
  /// for all users of the module, and so for the hook or callback that makes this call: the
  /// caller's code stays mapped until it has returned. Called in `init`, this unloads the module
  /// right after `init`; called in `exit`, it tries the unload again if `exit` refuses. The request
  /// is for this load of the module, not for a later one. Inside a hook: yes.
  int (*unload_later)(struct quiescent_self *self);

  /// Workers, deferred calls, timers, and storage for each thread: see `quiescent_services.h`.
  const struct quiescent_services *services;

  /// The module's state: `state_size` bytes, zero at first. NULL without a `state_size`, and in an
  /// `exit` after which another version goes on with it and what it points to. Inside a hook: yes.
  void *(*state)(struct quiescent_self *self);
};

/// Whether the host has the field. A host that was built against an older header has a shorter
/// structure, and what lies beyond its `size` must not be read.
#define QUIESCENT_HOST_HAS(host, field) \
  ((host)->size >= offsetof(struct quiescent_host, field) + sizeof((host)->field))

/// `acquire_for`, or `acquire` if the host does not have it.
static inline int quiescent_acquire_for(const struct quiescent_host *host, struct quiescent_self *self,
                                        const char *label) {
  return QUIESCENT_HOST_HAS(host, acquire_for) ? host->acquire_for(self, label) : host->acquire(self);
}

/// `release_for`, or `release` if the host does not have it.
static inline void quiescent_release_for(const struct quiescent_host *host, struct quiescent_self *self,
                                         const char *label) {
  if (QUIESCENT_HOST_HAS(host, release_for))
    host->release_for(self, label);
  else
    host->release(self);
}

/// The current place in the source, for example "file.c:17".
#define QUIESCENT_HERE __FILE__ ":" QUIESCENT_TEXT(__LINE__)
#define QUIESCENT_TEXT(value) QUIESCENT_TEXT_OF(value)
#define QUIESCENT_TEXT_OF(value) #value

/// Takes a reference labeled with the current place, and stores the label in `label`, a `const char
/// *`, which the later release needs:
///
///     const char *label;
///     if (QUIESCENT_ACQUIRE_HERE(host, self, label) != 0) return -EBUSY;
///     …
///     quiescent_release_for(host, self, label);
#define QUIESCENT_ACQUIRE_HERE(host, self, label) quiescent_acquire_for(host, self, (label) = QUIESCENT_HERE)

/// The exported symbol of a module.
struct quiescent_module {
  uint32_t abi;             ///< QUIESCENT_MODULE_ABI
  uint32_t size;            ///< sizeof(struct quiescent_module): at least 48
  const char *name;         ///< unique in a host; letters, digits, `_`, `-` and `.`
  const char *version;      ///< for people; may be NULL
  const char *description;  ///< one line for people; may be NULL

  /// Sets up the module and registers its interfaces. Returns 0, or a negative errno, and then the
  /// module is not loaded. Keep `host` and `self`. Runs on the host's module thread, and may block.
  int (*init)(const struct quiescent_host *host, struct quiescent_self *self);

  /// Frees what the module holds. By now no hook, object or callback of the module is in use.
  /// Returns 0 or -EBUSY. NULL means that the module can never be unloaded. Runs on the host's
  /// module thread, and may block.
  int (*exit)(void);

  // The fields below are optional, and a smaller `size` may leave them out.

  uint64_t flags;  ///< QUIESCENT_EXIT_AFTER_FAILED_INIT

  /// Called before anything is unregistered, by the scheme "active-bit": returns 0 if there are no
  /// users and from now on none can come, or -EBUSY if there are users. With `force`, it refuses
  /// new users and tells the present ones to go. An unload that waits calls this after the users
  /// that the host knows have gone; a forced unload calls it before that.
  int (*cleanup)(int force);

  /// Called before the first `exit`. The interfaces are unregistered and every call has returned,
  /// but users that the host does not know may remain.
  void (*stop)(void);

  /// The approximate number of users that the host does not know. An unload that finds users
  /// returns EBUSY early. Runs on the host's module thread.
  int64_t (*usecount)(void);

  /// The first parameter, and the end behind the last. QUIESCENT_MODULE sets them.
  const struct quiescent_parameter *const *parameters, *const *parameters_end;

  /// The layout and the size of `state`. A version that replaces this one goes on with its state if
  /// both numbers are the same. For a while both use it: by atomic operations, or under a lock in
  /// it. It has no pointers into an image.
  uint64_t state_version, state_size;
};

/// The host also calls `exit` after `init` has failed. Then `init` cleans up nothing, and `exit`
/// cleans up whatever was set up.
#define QUIESCENT_EXIT_AFTER_FAILED_INIT 1u

/// The name of the symbol that a host looks up.
#define QUIESCENT_MODULE_SYMBOL "quiescent_module"

/// Defines the exported symbol. The arguments are designated initializers of `struct
/// quiescent_module`.
#define QUIESCENT_MODULE(...)                                                  \
  extern __attribute__((visibility("default"))) const struct quiescent_module  \
      quiescent_module;                                                        \
  const struct quiescent_module quiescent_module = {                           \
      .abi = QUIESCENT_MODULE_ABI, .size = sizeof(struct quiescent_module),      \
      .parameters = __start_quiescent_parameters,                                \
      .parameters_end = __stop_quiescent_parameters, __VA_ARGS__};

// MARK: - Facts that are read from the file

/// A fact about the module, which `quiesce modinfo` and `quiesce depmod` read from the file without
/// mapping it. Both arguments are string literals; `key` contains no `=`, and `value` no line
/// break:
///
///     QUIESCENT_INFO("author", "N. N.");
#define QUIESCENT_INFO(key, value) QUIESCENT_INFO_AT(key, value, __COUNTER__)
#define QUIESCENT_INFO_AT(key, value, number) QUIESCENT_INFO_NAMED(key, value, number)
#define QUIESCENT_INFO_NAMED(key, value, number)                        \
  static const char quiescent_info_##number[]                           \
      __attribute__((used, aligned(1), section(".quiescent.info"))) = key "=" value

/// The modules that this module calls or reads, separated by commas. They are loaded before this
/// module, and stay loaded as long as it is.
#define QUIESCENT_DEPENDS(names) QUIESCENT_INFO("depends", names)

/// Modules to load before and after this module if they exist: "pre: a b post: c", by name or
/// alias. Their absence is not an error.
#define QUIESCENT_SOFTDEP(names) QUIESCENT_INFO("softdep", names)

/// Another name for requests of this module; `*`, `?` and `[…]` match as in a shell. May be used
/// several times.
#define QUIESCENT_ALIAS(pattern) QUIESCENT_INFO("alias", pattern)

#ifdef __cplusplus
}
#endif
