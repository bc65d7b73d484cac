extension UnloadScheme {
  /// Every scheme, the default first.
  public static let all: [UnloadScheme] = [
    .bigref, .delayedRemoval, .reregister, .activeBit, .startStopExit, .tryAcquire, .lockList, .bigReaderLock,
    .oneAtomic,
  ]
}
