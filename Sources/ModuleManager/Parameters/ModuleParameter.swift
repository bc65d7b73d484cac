internal import Glibc
internal import Quiescence
internal import Synchronization

/// A parameter of a module that is compiled into the host. The parameters of an image are C
/// variables; see `QUIESCENT_PARAMETER`.
///
/// ```swift
/// let limit = ModuleParameter("limit", 64, in: 1...1500, isWritable: true)
/// let drop = BuiltInModule("drop", parameters: [AnyModuleParameter(limit)]) { host in
///   host.register(on: ingress) { length in length < limit.value ? .drop : .accept }
/// }
/// let manager = ModuleManager()
/// try manager.load(drop, parameters: ["limit": "128"])
/// try manager.set("limit", of: "drop", to: "256")
/// ```
public struct ModuleParameter<Value: Sendable>: Sendable {
  let slot: BuiltInParameter
  private let decode: @Sendable (ParameterContent) -> Value

  /// The current value. Reading a number is one atomic load, fit for hooks; a string or a list
  /// takes a lock.
  public var value: Value { decode(slot.load()) }

  private init(
    _ form: ParameterForm, _ initial: ParameterContent, accept: @escaping @Sendable (Value) -> Int32,
    decode: @escaping @Sendable (ParameterContent) -> Value
  ) {
    self.decode = decode
    slot = BuiltInParameter(form, initial) { accept(decode($0)) }
  }
}

extension ModuleParameter where Value == Int {
  /// An integer. `accept` is called for each change while the module is loaded, on the manager's
  /// thread. It returns 0, or a negative errno to refuse.
  public init(
    _ name: String, _ initial: Int, in range: ClosedRange<Int> = Int.min...Int.max, isWritable: Bool = false,
    accept: @escaping @Sendable (Int) -> Int32 = { _ in 0 }
  ) {
    self.init(
      ParameterForm(
        name: name, kind: .int, isList: false, isWritable: isWritable, capacity: 1,
        minimum: Int64(range.lowerBound), maximum: Int64(range.upperBound)),
      .number(Int64(initial)), accept: accept
    ) { if case .number(let number) = $0 { Int(number) } else { initial } }
  }
}

extension ModuleParameter where Value == Bool {
  /// A Boolean; `accept` as for an integer.
  public init(
    _ name: String, _ initial: Bool, isWritable: Bool = false,
    accept: @escaping @Sendable (Bool) -> Int32 = { _ in 0 }
  ) {
    self.init(
      ParameterForm(
        name: name, kind: .bool, isList: false, isWritable: isWritable, capacity: 1,
        minimum: 0, maximum: 1),
      .number(initial ? 1 : 0), accept: accept
    ) { $0 == .number(1) }
  }
}

extension ModuleParameter where Value == String {
  /// A string of at most `capacity` bytes; `accept` as for an integer.
  public init(
    _ name: String, _ initial: String, atMost capacity: Int = 4096, isWritable: Bool = false,
    accept: @escaping @Sendable (String) -> Int32 = { _ in 0 }
  ) {
    self.init(
      ParameterForm(
        name: name, kind: .string, isList: false, isWritable: isWritable, capacity: capacity,
        minimum: 0, maximum: 0),
      .text(initial), accept: accept
    ) { if case .text(let text) = $0 { text } else { initial } }
  }
}

extension ModuleParameter where Value == [Int] {
  /// A list of at most `capacity` integers; `accept` as for an integer.
  public init(
    _ name: String, _ initial: [Int], in range: ClosedRange<Int> = Int.min...Int.max,
    atMost capacity: Int = 1024,
    isWritable: Bool = false, accept: @escaping @Sendable ([Int]) -> Int32 = { _ in 0 }
  ) {
    self.init(
      ParameterForm(
        name: name, kind: .int, isList: true, isWritable: isWritable, capacity: capacity,
        minimum: Int64(range.lowerBound), maximum: Int64(range.upperBound)),
      .list(initial.map { Int64($0) }), accept: accept
    ) { if case .list(let numbers) = $0 { numbers.map { Int($0) } } else { initial } }
  }
}

/// A ``ModuleParameter`` without its value type, so that parameters of several types fit into one
/// list.
public struct AnyModuleParameter: Sendable {
  let slot: BuiltInParameter

  /// Wraps a parameter.
  public init<Value>(_ parameter: ModuleParameter<Value>) { slot = parameter.slot }
}

/// The variable of a built-in module's parameter.
final class BuiltInParameter: ParameterSlot {
  let form: ParameterForm
  private let number: Atomic<Int64>
  /// The content of a string or a list.
  private let other: Locked<ParameterContent>
  private let accept: @Sendable (ParameterContent) -> Int32

  init(
    _ form: ParameterForm, _ initial: ParameterContent,
    accept: @escaping @Sendable (ParameterContent) -> Int32
  ) {
    self.form = form
    self.accept = accept
    if case .number(let value) = initial { number = Atomic(value) } else { number = Atomic(0) }
    other = Locked(initial)
  }

  func load() -> ParameterContent {
    if form.isList || form.kind == .string { return other.withLock { $0 } }
    return .number(number.load(ordering: .acquiring))
  }

  func storeFirst(_ content: ParameterContent) {
    if case .number(let value) = content { number.store(value, ordering: .releasing) }
    other.withLock { $0 = content }
  }

  func change(to content: ParameterContent) -> Int32 {
    let result = accept(content)
    if result == 0 { storeFirst(content) }
    return result
  }
}
