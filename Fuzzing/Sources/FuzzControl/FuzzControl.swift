import Foundation

@testable import ControlProtocol

/// The input is what a client sends to a host's control socket: lines, and what is none.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  receive(UnsafeRawBufferPointer(start: bytes, count: count))
  return 0
}

private let coders = (Wire.encoder(), Wire.decoder())

private func receive(_ input: UnsafeRawBufferPointer) {
  // Shorter than a host's, so that inputs reach it.
  var buffer = LineBuffer(limit: 512)
  var rest = input[...]
  while !rest.isEmpty {
    // In parts, whose sizes come from the input.
    let part = rest.prefix(1 + Int(rest[rest.startIndex]))
    rest = rest.dropFirst(part.count)
    buffer.append(UnsafeRawBufferPointer(rebasing: part))
    do throws(ControlError) {
      while let line = try buffer.next() { answer(line) }
    } catch {
      precondition(error.errno == EMSGSIZE)
      return
    }
  }
}

private func answer(_ line: Data) {
  precondition(line.count <= 512 && !line.contains(10))
  let (encoder, decoder) = coders
  do throws(ControlError) {
    let request = try Request(parsing: line, with: decoder)
    _ = request.isReadOnly
    // What was understood is said and understood again.
    guard let again = try? request.line(with: encoder) else { fatalError("\(request) has no line") }
    let understood = try Request(parsing: again, with: decoder)
    precondition(understood == request, "\(understood)")
  } catch {
    precondition([EBADMSG, EINVAL, ENOSYS].contains(error.errno))
    precondition(error.message == error.message.onOneLine)
  }
}
