/// The traps of the collections: one line each, which names the rule.
@usableFromInline
enum CollectionMisuse {
  @inline(never) @usableFromInline
  static func otherFlavor(_ flavor: String) -> Never {
    fatalError("a collection that is read under \(flavor) was given a reclaimer of another flavor")
  }

  @inline(never) @usableFromInline
  static func otherDomain() -> Never {
    fatalError("SleepablePointer: a section of another SleepableDomain, which does not protect the pointer")
  }

  @inline(never) @usableFromInline
  static func publishThroughUnlinked() -> Never {
    fatalError(
      "RCUPointer: a value published through a pointer of a node that was unlinked would be lost: use compareExchange "
        + "or fill, which refuse")
  }

  @inline(never) @usableFromInline
  static func writeInsideUpdate() -> Never {
    fatalError(
      "RCUDictionary: a write to a dictionary inside the closure of its own update would wait for itself")
  }

  @inline(never) @usableFromInline
  static func entryOfOtherList() -> Never {
    fatalError("RCUList: an entry of another list")
  }
}
