internal import Quiescence

/// Waits for several flavours at the same time.
enum GracePeriods {
  /// Blocks until a grace period of each flavour has passed, all of them started together. The caller is outside every
  /// section.
  static func wait(for flavors: [any Flavor.Type]) {
    let parkers = flavors.map { flavor in
      let parker = Parker()
      flavor.afterGracePeriod(.thread(parker))
      return parker
    }
    for parker in parkers { parker.wait() }
  }

  /// Blocks until everything retired so far under any of the flavours has run; holds a grace period of each.
  ///
  /// One after the other: what a module retires goes through the flavours in this order (see
  /// `Module.retire`), and a barrier of the second that ran beside the first could miss it.
  static func barrier(for flavors: [any Flavor.Type]) {
    for flavor in flavors {
      let parker = Parker()
      flavor.afterCallbacks(.thread(parker))
      parker.wait()
    }
  }
}
