/// A hook as C sees it: plain words, called without reference counting.
@usableFromInline
struct HookFunction: @unchecked Sendable {
  // Unchecked for the context, which belongs to the hook: it is called from many threads by contract.
  @usableFromInline
  let call: @convention(c) (UnsafeMutableRawPointer?, UnsafeMutableRawPointer?) -> Int32
  @usableFromInline
  let context: UnsafeMutableRawPointer?

  init(
    call: @escaping @convention(c) (UnsafeMutableRawPointer?, UnsafeMutableRawPointer?) -> Int32,
    context: UnsafeMutableRawPointer?
  ) {
    self.call = call
    self.context = context
  }
}

struct HookEntry: Sendable {
  let function: HookFunction
  let closure: HookClosure?
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
    _ = functions.initialize(from: entries.map(\.function))
  }

  deinit {
    functions.deallocate()
  }

  /// The caller's section keeps the table, and the code of every function in it.
  @inlinable
  func call<Argument: ~Copyable>(_ argument: inout Argument) -> HookResult {
    withUnsafeMutablePointer(to: &argument) { pointer in
      var called = 0
      for function in functions {
        called += 1
        let verdict = function.call(pointer, function.context)
        if verdict != 0 { return HookResult(verdict: Verdict(rawValue: verdict), called: called) }
      }
      return HookResult(verdict: .accept, called: called)
    }
  }
}

/// Lends a Swift closure to a ``HookFunction``.
final class HookClosure: Sendable {
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
