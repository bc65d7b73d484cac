import Foundation
import Testing

@testable import ControlClient
@testable import ControlProtocol
@testable import ControlServer

@Suite struct SessionTests {
  private let service = FakeService()

  @Test func loadsListsAndUnloads() {
    let session = session()
    #expect(session.ask(#"{"verb":"insmod","module":"a"}"#) == #"{"module":"a","module_calls":1,"ok":true}"#)
    #expect(session.ask(#"{"verb":"lsmod"}"#).contains(#""module":"a""#))
    #expect(session.ask(#"{"verb":"objects"}"#) == #"{"objects":["a"],"ok":true}"#)
    #expect(session.ask(#"{"verb":"stat"}"#).hasPrefix(#"{"ok":true,"statistics":{"dropped":0,"#))
    let replaced = session.ask(#"{"verb":"replace","module":"a","path":"/2/a.so"}"#)
    #expect(
      replaced
        == #"{"keeps_state":false,"module":"a","module_calls":2,"ok":true,"unload_us":1,"unmapped":true,"#
        + #""version":"/2/a.so"}"#)
    #expect(session.ask(#"{"verb":"replace","module":"a"}"#).contains("EINVAL"))
    #expect(session.ask(#"{"verb":"rmmod","module":"a"}"#).contains(#""unmapped":true"#))
    #expect(session.ask(#"{"verb":"rmmod","module":"a","wait":true}"#).contains("ENOENT"))
  }

  @Test func readsAnObjectAndKeepsItOpen() {
    let session = session()
    _ = session.ask(#"{"verb":"insmod","module":"abc"}"#)
    #expect(
      session.ask(#"{"verb":"open","object":"abc"}"#) == #"{"handle":1,"module":"abc","ok":true}"#)
    #expect(
      session.ask(#"{"verb":"read","handle":1,"offset":1}"#) == #"{"data":"YmM=","ok":true}"#)
    #expect(session.ask(#"{"verb":"read","handle":1,"offset":3}"#) == #"{"data":"","ok":true}"#)
    #expect(session.ask(#"{"verb":"rmmod","module":"abc"}"#).contains("in use: client 1"))
    #expect(session.ask(#"{"verb":"close","handle":1}"#) == #"{"ok":true}"#)
    #expect(session.ask(#"{"verb":"read","handle":1}"#).contains("EBADF"))
    #expect(session.ask(#"{"verb":"rmmod","module":"abc"}"#).contains(#""ok":true"#))
  }

  @Test func endedSessionClosesItsObjects() {
    do {
      let session = session()
      _ = session.ask(#"{"verb":"insmod","module":"a"}"#)
      _ = session.ask(#"{"verb":"open","object":"a"}"#)
      _ = session.ask(#"{"verb":"open","object":"a"}"#)
      #expect(service.users(of: "a") == 2)
    }
    #expect(service.users(of: "a") == 0)
  }

  @Test func limitsTheObjectsOfAClient() {
    let session = session()
    _ = session.ask(#"{"verb":"insmod","module":"a"}"#)
    for _ in 0..<ObjectTable.limit { _ = session.ask(#"{"verb":"open","object":"a"}"#) }
    #expect(session.ask(#"{"verb":"open","object":"a"}"#).contains("EMFILE"))
    _ = session.ask(#"{"verb":"close","handle":7}"#)
    #expect(session.ask(#"{"verb":"open","object":"a"}"#).contains(#""ok":true"#))
  }

  @Test func sessionCannotWaitForItself() {
    let session = session()
    _ = session.ask(#"{"verb":"insmod","module":"a"}"#)
    _ = session.ask(#"{"verb":"open","object":"a"}"#)
    #expect(session.ask(#"{"verb":"rmmod","module":"a","wait":true}"#).contains("EDEADLK"))
  }

  @Test(arguments: [
    (#"{"verb":"frobnicate"}"#, "ENOSYS"),
    (#"{"verb":"insmod"}"#, "EINVAL"),
    (#"{"verb":"rmmod","wait":true}"#, "EINVAL"),
    (#"{"verb":"open"}"#, "EINVAL"),
    (#"{"verb":"request"}"#, "EINVAL"),
    (#"{"verb":"remove"}"#, "EINVAL"),
    (#"{"verb":"parameters"}"#, "EINVAL"),
    (#"{"verb":"set","module":"a","parameter":"limit"}"#, "EINVAL"),
    (#"{"verb":"set","module":"a","parameter":"x","value":"1"}"#, "ENOENT"),
    (#"{"verb":"insmod","module":"a","parameters":{"x":1}}"#, "EINVAL"),
    (#"{"verb":"rmmod","module":"a","wait":true,"seconds":-1}"#, "EINVAL"),
    (#"{"verb":"read"}"#, "EINVAL"),
    (#"{"verb":"read","handle":4}"#, "EBADF"),
    (#"{"verb":"close","handle":-4}"#, "EBADF"),
    (#"{"verb":"open","object":"nothing"}"#, "ENOENT"),
    ("nonsense", "EBADMSG"),
  ])
  func refusalsNameTheErrno(request: String, errno: String) {
    let reply = session().ask(request)
    #expect(reply.hasPrefix(#"{"#) && reply.contains(#""ok":false"#))
    #expect(reply.contains("\"errno\":\"\(errno)\""))
  }

  private func session() -> Session {
    Session(service: service, holder: "client 1", socket: -1)
  }
}

extension Session {
  /// The reply, as text.
  fileprivate func ask(_ line: String) -> String {
    guard let reply = answer(Data(line.utf8)) else { return "no reply" }
    return String(decoding: reply, as: UTF8.self)
  }
}
