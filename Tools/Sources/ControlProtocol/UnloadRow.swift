/// What an unload does about users.
public enum UnloadPolicy: Sendable {
  /// `EBUSY`, and the module serves on.
  case fail
  /// Lets no new ones in, and waits for the last.
  case wait
  /// Waits for a moment without any.
  case whenIdle
  /// Tells the users to go, and waits for them.
  case force
}

/// What became of one module of several that were to go together:
/// `{"module":"a","unloaded":{…}}` or `{"module":"a","errno":"EBUSY","message":"…"}`.
public struct UnloadRow: Codable, Sendable, Hashable {
  /// Its name.
  public let module: String

  /// Nil when it stays.
  public let unloaded: RmmodReply?

  private let errno: String?
  private let message: String?

  /// It has gone.
  public init(_ module: String, _ reply: RmmodReply) {
    self.module = module
    unloaded = reply
    errno = nil
    message = nil
  }

  /// It stays.
  public init(_ module: String, _ error: ControlError) {
    self.module = module
    unloaded = nil
    errno = error.errnoName
    message = error.message
  }

  /// Why it stays.
  public var error: ControlError? {
    guard let errno, let message else { return nil }
    return ControlError(named: errno, message)
  }
}
