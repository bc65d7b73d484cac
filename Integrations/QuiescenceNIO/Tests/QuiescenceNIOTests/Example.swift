import NIOCore
import NIOPosix
import Quiescence
import QuiescenceNIO

final class Router: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  private let routes: SharedRCUBox<[String: Int], QSBR>

  init(_ routes: SharedRCUBox<[String: Int], QSBR>) { self.routes = routes }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let path = String(buffer: unwrapInboundIn(data))
    let port = routes.readOnLoop { $0[path] }  // no lock, no retain, no fence
    context.writeAndFlush(NIOAny(ByteBuffer(string: "\(port ?? 0)")), promise: nil)
  }
}

func serve(_ routes: SharedRCUBox<[String: Int], QSBR>) async throws -> any Channel {
  let group = MultiThreadedEventLoopGroup.quiescent(numberOfThreads: 2)
  return try await ServerBootstrap(group: group)
    .childChannelInitializer { channel in
      channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Router(routes)) }
    }
    .bind(host: "127.0.0.1", port: 0).get()
}

func add(_ path: String, _ port: Int, to routes: SharedRCUBox<[String: Int], QSBR>) async {
  routes.box.update { $0[path] = port }  // from any thread; no loop waits
  await QSBR.synchronize()  // no loop uses the old table any more
}
