import Relay
import Testing

@Suite struct SocketAddressTests {
  @Test(arguments: ["127.0.0.1:5000", "[::1]:5000", "0.0.0.0:0", "[fe80::1]:65535"])
  func descriptionIsTheParsedText(_ text: String) throws {
    #expect(try SocketAddress(parsing: text).description == text)
  }

  @Test(arguments: [
    "", ":", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:+1", ":5000",
    "::1:5000", "[127.0.0.1]:5000", "localhost:5000", "[::1]5000", "127.0.0.1:5000 ", "1.2.3.4.5:6",
  ])
  func wrongAddressIsRefusedInOneLine(_ text: String) throws {
    let error = try #require(throws: RelayError.self) { try SocketAddress(parsing: text) }
    #expect(error.description.hasSuffix("(EINVAL)"))
    #expect(error.description.hasPrefix("\(text): "))
  }
}
