/// A hook as C sees it: two plain words, called without reference counting.
@usableFromInline
package struct HookFunction: @unchecked Sendable {
  // Unchecked for the context, which belongs to the hook: by contract, many threads call it.
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

/// A hook that is not on a point yet.
package struct UnlinkedHook: Sendable {
  let function: HookFunction
  /// Of a hook in Swift.
  let closure: HookClosure?
  let gate: HookGate?
  let priority: Int
}

struct HookEntry: Sendable {
  let hook: UnlinkedHook
  let id: UInt64
}

/// One published version of a hook point's functions, in order and contiguous.
@usableFromInline
struct HookTable: ~Copyable, @unchecked Sendable {
  // Unchecked for the pointers: what they point to never changes after the initializer.
  @usableFromInline
  let functions: UnsafeMutablePointer<HookFunction>
  /// The first function whose call has to pass a gate; ``end`` without one. A round asks for gates
  /// here and at no function before.
  @usableFromInline
  let firstGated: UnsafeMutablePointer<HookFunction>
  @usableFromInline
  let end: UnsafeMutablePointer<HookFunction>
  /// The gate of each function. Does not keep it alive: the hook point does.
  private let gates: UnsafeMutablePointer<Unmanaged<HookGate>?>

  init(_ entries: [HookEntry]) {
    functions = .allocate(capacity: entries.count)
    gates = .allocate(capacity: entries.count)
    for (index, entry) in entries.enumerated() {
      (functions + index).initialize(to: entry.hook.function)
      (gates + index).initialize(to: entry.hook.gate.map { Unmanaged.passUnretained($0) })
    }
    firstGated = functions + (entries.firstIndex { $0.hook.gate != nil } ?? entries.count)
    end = functions + entries.count
  }

  deinit {
    functions.deallocate()
    gates.deallocate()
  }

  /// The caller's section keeps the table, and the code of every function in it that has no gate.
  @inlinable @inline(__always)
  func call<Argument: ~Copyable>(_ argument: inout Argument) -> HookResult {
    withUnsafeMutablePointer(to: &argument) { pointer in
      let firstGated = firstGated
      var next = functions
      while next != firstGated {
        let verdict = next.pointee.call(pointer, next.pointee.context)
        next += 1
        if verdict != 0 { return HookResult(verdict: Verdict(rawValue: verdict), called: next - functions) }
      }
      if _slowPath(firstGated != end) { return callBehindGates(pointer) }
      return HookResult(verdict: .accept, called: next - functions)
    }
  }

  /// The rest of a round, from the first function with a gate on. Out of line, so that the code of
  /// other rounds stays short.
  @inline(never) @usableFromInline
  func callBehindGates(_ pointer: UnsafeMutableRawPointer) -> HookResult {
    var called = firstGated - functions
    for index in called..<(end - functions) {
      let function = functions[index]
      let verdict: Int32
      if let gate = gates[index] {
        // Refused: the round continues as if the hook were off the point already.
        guard let answer = gate._withUnsafeGuaranteedRef({ $0.call(function, pointer) }) else { continue }
        verdict = answer
      } else {
        verdict = function.call(pointer, function.context)
      }
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
