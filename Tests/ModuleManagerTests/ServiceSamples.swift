import ModuleManager
import TestSupport

/// Modules that use `host->services`.
enum ServiceSamples {
  static let preamble = """
    #include <stdatomic.h>
    #include <stdio.h>
    #define SECOND 1000000000ull
    static const struct quiescent_services *services __attribute__((unused));
    static atomic_int running __attribute__((unused)), calls __attribute__((unused));
    static atomic_long sum __attribute__((unused));

    """

  /// A module with `functions`; `services` is set before `initialize` runs.
  static func module(
    _ name: String, _ functions: String, hook: String = "", initialize: String,
    exit: String = "return running == 0 ? 0 : -EBUSY;", members: String = ""
  ) -> String {
    Misbehavior.module(
      name, hook: hook,
      initialize: """
        if (!QUIESCENT_HOST_HAS(h, services)) return -ENOSYS;
        services = h->services;
        \(initialize)
        """, exit: exit, functions: preamble + functions, members: members)
  }

  /// `work` runs until it is to stop, and looks every millisecond.
  static let worker = """
    static void work(void *argument) {
      running++;
      while (!services->stop_requested(self, SECOND / 1000)) *(atomic_int *)argument += 1;
      running--;
    }

    """

  static func logging(_ manager: ModuleManager) -> Lines {
    let lines = Lines()
    manager.setLog { _, line in lines.add(line) }
    return lines
  }
}
