import Foundation
import TestSupport

/// Modules in C, compiled once per test run.
enum SampleModules {
  static let folder = Compiler.temporaryFolder()

  /// The argument of the tests' hook points.
  struct Argument: Sendable {
    var calls: Int32 = 0
    var cookie: Int32 = 0
  }

  static let argumentType = "test.argument.1"

  static func build(_ name: String, _ code: String) -> String {
    Compiler.module(preamble + code, in: folder, named: name)
  }

  static let preamble = """
    #include <errno.h>
    #include <stdlib.h>
    #include <string.h>
    #include "quiescent_module.h"
    struct argument { int calls; int cookie; };
    static const struct quiescent_host *host __attribute__((unused));
    static struct quiescent_self *self __attribute__((unused));

    """

  /// One hook that counts its calls in the argument, and checks the module's memory on each call.
  static func counting(_ name: String) -> String {
    build(
      name,
      """
      static int *cookie;
      static int hook(void *argument, void *context) {
        struct argument *a = argument;
        a->calls += 1;
        a->cookie = *(volatile int *)context;
        return QUIESCENT_ACCEPT;
      }
      static int init(const struct quiescent_host *h, struct quiescent_self *s) {
        host = h; self = s;
        cookie = malloc(sizeof *cookie);
        *cookie = 4711;
        return h->register_hook(s, "point", "\(argumentType)", 0, hook, cookie);
      }
      static int leave(void) { *cookie = 0; free(cookie); return 0; }
      QUIESCENT_MODULE(.name = "\(name)", .version = "1.2", .description = "counts", .init = init, .exit = leave)
      """)
  }

  /// Publishes an object "\(name)-object" that reads "hello".
  static func publishing(_ name: String, _ facts: String = "") -> String {
    build(
      name,
      """
      \(facts)
      static long look(void *context, char *buffer, size_t capacity, uint64_t offset) {
        if (offset > 100) return -EOVERFLOW;
        const char *text = "hello";
        if (offset >= strlen(text)) return 0;
        size_t left = strlen(text) - offset, count = left < capacity ? left : capacity;
        memcpy(buffer, text + offset, count);
        return (long)count;
      }
      static int init(const struct quiescent_host *h, struct quiescent_self *s) {
        host = h; self = s;
        return h->publish(s, "\(name)-object", look, NULL);
      }
      static int leave(void) { return 0; }
      QUIESCENT_MODULE(.name = "\(name)", .init = init, .exit = leave)
      """)
  }

  /// Its constructor sets the variable `CONSTRUCTED_` and its name in the environment.
  static func constructing(_ name: String) async -> String {
    await onThread {
      custom(
        name,
        """
        __attribute__((constructor)) static void construct(void) { setenv("CONSTRUCTED_\(name)", "1", 1); }
        static int init(const struct quiescent_host *h, struct quiescent_self *s) { (void)h, (void)s; return 0; }
        static int leave(void) { return 0; }
        """, ".init = init, .exit = leave")
    }
  }

  /// A module with the given functions and members.
  static func custom(_ name: String, _ functions: String, _ members: String) -> String {
    build(name, functions + "\nQUIESCENT_MODULE(.name = \"\(name)\", \(members))\n")
  }
}
