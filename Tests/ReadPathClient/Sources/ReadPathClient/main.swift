import Quiescence

struct Table: Sendable {
  var next = 1
  var names = ["a", "b"]
}

final class Router: Sendable {
  let routes = RCUBox(Table())
  let flows = RCUBox(Table(), flavor: QSBR.self)
}

@inline(never)
func membRead(_ router: UnsafeRawPointer) -> Int {
  Unmanaged<Router>.fromOpaque(router)._withUnsafeGuaranteedRef { router in
    router.routes.read { $0.next }
  }
}

@inline(never)
func membSection(_ router: UnsafeRawPointer) -> Int {
  Unmanaged<Router>.fromOpaque(router)._withUnsafeGuaranteedRef { router in
    Memb.read { section in
      let first = router.routes.load(section)
      let second = router.routes.load(section)
      return first.value.next + second.value.names.count
    }
  }
}

@inline(never)
func qsbr(_ router: Router) -> Int {
  QSBR.withOnlineReader { reader in
    var sum = 0
    for _ in 0..<1000 {
      do {
        let t = router.flows.load(reader)
        sum += t.value.next
      }
      reader.quiescentState()
      reader.offline { sum += 1 }
    }
    return sum
  }
}

let router = Router()
let opaque = Unmanaged.passUnretained(router).toOpaque()
var sum = 0
let clock = ContinuousClock()
let time = clock.measure {
  for _ in 0..<100_000_000 { sum += membRead(opaque) }
}
print(sum, time / 100_000_000, membSection(opaque), qsbr(router))
router.routes.update { $0.next = 2 }
print(router.routes.read { $0.next }, router.routes.snapshot().next)
Memb.barrier()
