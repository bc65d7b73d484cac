// Parameters of a module: variables that are set when it is loaded, and changed while it is.
// `quiescent_module.h` includes this file, and defines QUIESCENT_INFO.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// The type of a parameter.
enum quiescent_parameter_kind {
  QUIESCENT_KIND_bool = 1,    ///< `bool`: y, n, yes, no, on, off, true, false, 1, 0
  QUIESCENT_KIND_int = 2,     ///< any signed integer type
  QUIESCENT_KIND_uint = 3,    ///< any unsigned integer type
  QUIESCENT_KIND_string = 4,  ///< an array of `char`
};

/// The parameter can be changed while the module is loaded.
#define QUIESCENT_WRITABLE 1u

/// A parameter of a module. QUIESCENT_PARAMETER and QUIESCENT_PARAMETER_LIST define it.
struct quiescent_parameter {
  uint32_t size;      ///< sizeof(struct quiescent_parameter)
  uint32_t kind;      ///< a quiescent_parameter_kind
  uint32_t width;     ///< bytes per number; 1 for a string
  uint32_t capacity;  ///< elements of a list; bytes of a string with its zero; else 1
  const char *name;   ///< unique in its module
  void *value;        ///< the variable; its initial content is the default
  uint32_t *count;    ///< the number of elements in use; NULL if it is not a list

  // The macros set the fields above. The fields below are optional arguments of the macros.

  uint64_t flags;  ///< QUIESCENT_WRITABLE
  /// The smallest and the largest allowed number; for `int` both are read as int64_t. If both are
  /// 0, every number of the type is allowed. If one limit is 0 and the range would be empty, that
  /// limit does not apply.
  uint64_t minimum, maximum;
  /// Called for each change while the module is loaded. Not called for a value given at load:
  /// `init` finds that in the variable, and may refuse it. Returns 0, or a negative errno to keep
  /// the old value. `value` has the layout of the variable.
  ///
  /// For a number, the host stores the new value with one atomic store after this has returned 0; a
  /// hook that reads the variable concurrently uses an atomic load. A string (`count` bytes and a
  /// zero) or a list (`count` elements) is not stored by the host: this function stores it, with
  /// `retire` for memory that hooks may be reading. Without this function, strings and lists cannot
  /// be changed. Runs on the host's module thread, and may block.
  int (*set)(const struct quiescent_parameter *parameter, const void *value, size_t count);
};

// Defined by the linker, around the contents of the section; both NULL if there are no parameters.
extern const struct quiescent_parameter *const __start_quiescent_parameters[]
    __attribute__((weak, visibility("hidden")));
extern const struct quiescent_parameter *const __stop_quiescent_parameters[]
    __attribute__((weak, visibility("hidden")));

/// A variable that is set when the module is loaded: `quiesce insmod drop limit=64`. Further
/// arguments are designated initializers of `struct quiescent_parameter`:
///
///     static int limit = 64;
///     QUIESCENT_PARAMETER(limit, int, "Shorter datagrams are dropped", .minimum = 1,
///                         .maximum = 1500)
#define QUIESCENT_PARAMETER(variable, of_kind, text, ...)                                           \
  QUIESCENT_PARAMETER_AT(variable, QUIESCENT_KIND_##of_kind, #of_kind, text,                        \
                         QUIESCENT_KIND_##of_kind == QUIESCENT_KIND_string ? 1 : sizeof(variable),  \
                         QUIESCENT_KIND_##of_kind == QUIESCENT_KIND_string ? sizeof(variable) : 1,  \
                         0, ##__VA_ARGS__)

/// An array of numbers, and a `uint32_t` for the number of elements in use: `ports=53,123`.
#define QUIESCENT_PARAMETER_LIST(variable, in_use, of_kind, text, ...)                              \
  QUIESCENT_PARAMETER_AT(variable, QUIESCENT_KIND_##of_kind, "list of " #of_kind, text,             \
                         sizeof((variable)[0]), sizeof(variable) / sizeof((variable)[0]), &(in_use), \
                         ##__VA_ARGS__)

#define QUIESCENT_PARAMETER_AT(variable, of_kind, kind_text, text, one, many, in_use, ...)          \
  _Static_assert((one) == 1 || (one) == 2 || (one) == 4 || (one) == 8, #variable " is not a number"); \
  static const struct quiescent_parameter quiescent_parameter_##variable = {                        \
      .size = sizeof(struct quiescent_parameter), .kind = (of_kind), .width = (one),                \
      .capacity = (many), .name = #variable, .value = &variable, .count = (in_use), ##__VA_ARGS__}; \
  static const struct quiescent_parameter *const quiescent_parameter_at_##variable                  \
      __attribute__((used, section("quiescent_parameters"))) = &quiescent_parameter_##variable;     \
  QUIESCENT_INFO("parm", #variable ":" text " (" kind_text ")")

#ifdef __cplusplus
}
#endif
