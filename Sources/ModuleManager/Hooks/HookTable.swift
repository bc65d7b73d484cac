/// A hook as C sees it: plain words, called without reference counting.
@usableFromInline
package struct HookFunction: @unchecked Sendable {
  // Unchecked for the context, which belongs to the hook: it is called from many threads by contract.
  @usableFromInline
  let call: @convention(c) (UnsafeMutableRawPointer?, UnsafeMutableRawPointer?) -> Int32
  @usableFromInline
  let context: UnsafeMutableRawPointer?
  /// A ``HookGate`` that the call has to pass; nil where the section protects the code.
  @usableFromInline
  let gate: UnsafeRawPointer?

  init(
    call: @escaping @convention(c) (UnsafeMutableRawPointer?, UnsafeMutableRawPointer?) -> Int32,
    context: UnsafeMutableRawPointer?, gate: UnsafeRawPointer? = nil
  ) {
    self.call = call
    self.context = context
    self.gate = gate
  }

  func behind(_ gate: HookGate?) -> HookFunction {
    HookFunction(call: call, context: context, gate: gate?.address)
  }
}

struct HookEntry: Sendable {
  let function: HookFunction
  let closure: HookClosure?
  let gate: HookGate?
  let priority: Int
  let id: UInt64
}

/// One published version of a hook point's functions, in order and contiguous.
@usableFromInline
struct HookTable: ~Copyable, @unchecked Sendable {
  // Unchecked for the buffer: it never changes after the initializer.
  @usableFromInline
  let functions: UnsafeMutableBufferPointer<HookFunction>

  init(_ entries: [HookEntry]) {
    functions = .allocate(capacity: entries.count)
    _ = functions.initialize(from: entries.map { $0.function.behind($0.gate) })
  }

  deinit {
    functions.deallocate()
  }

  /// The caller's section keeps the table, and the code of every function in it that has no gate.
  @inlinable @inline(__always)
  func call<Argument: ~Copyable>(_ argument: inout Argument) -> HookResult {
    withUnsafeMutablePointer(to: &argument) { pointer in
      var called = 0
      for function in functions {
        if function.gate != nil { return callBehindGates(pointer, from: called) }
        called += 1
        let verdict = function.call(pointer, function.context)
        if verdict != 0 { return HookResult(verdict: Verdict(rawValue: verdict), called: called) }
      }
      return HookResult(verdict: .accept, called: called)
    }
  }

  /// The rest of a round that has come to a function with a gate. Out of line: the way of the others stays short.
  @inline(never) @usableFromInline
  func callBehindGates(_ pointer: UnsafeMutableRawPointer, from first: Int) -> HookResult {
    var called = first
    for function in functions[first...] {
      // Refused: as if it were off the point already.
      guard let verdict = function.callBehindGate(pointer) else { continue }
      called += 1
      if verdict != 0 { return HookResult(verdict: Verdict(rawValue: verdict), called: called) }
    }
    return HookResult(verdict: .accept, called: called)
  }
}

/// Lends a Swift closure to a ``HookFunction``.
package final class HookClosure: Sendable {
  private let body: @Sendable (UnsafeMutableRawPointer) -> Int32

  init(_ body: @escaping @Sendable (UnsafeMutableRawPointer) -> Int32) {
    self.body = body
  }

  /// Does not keep the closure alive: the hook point does.
  var function: HookFunction {
    HookFunction(
      call: { argument, context in
        // Both are set: the dispatch passes an argument, the line below the closure.
        Unmanaged<HookClosure>.fromOpaque(context!)._withUnsafeGuaranteedRef { $0.body(argument!) }
      }, context: Unmanaged.passUnretained(self).toOpaque())
  }
}
