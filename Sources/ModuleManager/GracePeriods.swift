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
}
