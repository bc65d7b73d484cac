import NIOCore
import NIOPosix
import Quiescence
import Testing

/// The example of the README answers over a socket. `make lint` compares it with Example.swift.
@Suite struct ExampleTests {
  @Test func exampleAnswersByItsTable() async throws {
    let routes = SharedRCUBox(box: RCUBox(["a": 1], flavor: QSBR.self))
    let server = try await serve(routes)
    let port = try #require(server.localAddress?.port)
    #expect(try await ask("a", port) == "1")
    await add("b", 2, to: routes)
    #expect(try await ask("b", port) == "2")
    try await server.close()
    try await server.eventLoop.flatSubmit { server.closeFuture }.get()
  }

  private func ask(_ path: String, _ port: Int) async throws -> String {
    let client = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .connect(host: "127.0.0.1", port: port) { channel in
        channel.eventLoop.makeCompletedFuture {
          try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
        }
      }
    return try await client.executeThenClose { inbound, outbound in
      try await outbound.write(ByteBuffer(string: path))
      for try await answer in inbound { return String(buffer: answer) }
      return ""
    }
  }
}
