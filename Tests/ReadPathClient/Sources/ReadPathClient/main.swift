import Bigref
import ModuleManager
import Quiescence
import QuiescentCollections

struct Table: Sendable {
  var next = 1
  var names = ["a", "b"]
  var owner = Owner()
}

final class Owner: Sendable {}

final class Router: Sendable {
  let routes = RCUBox(Table())
  let flows = RCUBox(Table(), flavor: QSBR.self)
  let early = RCUBox(Table(), flavor: Bulletproof.self)
}

// Each of these becomes one function in the machine code, which `check` inspects.

@inline(never)
func readThroughMemb(_ router: Router) -> Int {
  router.routes.read { $0.next }
}

@inline(never)
func readBulletproof(_ router: Router) -> Int {
  router.early.read { $0.next }
}

@inline(never)
func readThroughQSBR(_ router: Router) -> Int {
  router.flows.read { $0.next }
}

@inline(never)
func readTwoInOneSection(_ router: Router) -> Int {
  Memb.read { section in
    let first = router.routes.load(section)
    let second = router.routes.load(section)
    return first.value.next &+ second.value.names.count
  }
}

@inline(never)
func readOnline(_ router: Router, _ reader: borrowing OnlineReader) -> Int {
  router.flows.load(reader).value.next
}

@inline(never)
func dispatchThroughMemb(_ point: HookPoint<Int, Memb>, _ argument: inout Int) -> Int {
  point.dispatch(&argument).called
}

@inline(never)
func dispatchOnline(
  _ point: HookPoint<Int, QSBR>, _ argument: inout Int, _ reader: borrowing OnlineReader
) -> Int {
  point.dispatch(&argument, in: reader).called
}

/// For any cell; `readGenerically` must compile to the same code as `readThroughMemb`.
func next(in cell: borrowing some RCUCell<Table> & ~Copyable & ~Escapable) -> Int {
  cell.read { $0.next }
}

@inline(never)
func readGenerically(_ router: Router) -> Int {
  next(in: router.routes)
}

@inline(never)
func readProjection(_ box: borrowing RCUBox<Table, Memb>) -> Int {
  box.map(\.next).read { $0 }
}

@inline(never)
func readKeptProjection(_ names: Projection<Table, [String], Memb>) -> Int {
  names.read { $0.count }
}

@inline(never)
func readCached(_ cached: inout Cached<Table, Table, Memb>) -> Int {
  cached.read { $0.next &+ $0.names.count }
}

@inline(never)
func readSleepable(_ domain: borrowing SleepableDomain, _ routes: borrowing SleepableBox<Table>) -> Int {
  domain.read { section in routes.load(section).value.next }
}

@inline(never)
func lookUpNumber(_ routes: borrowing RCUDictionary<FastHashed<UInt32>, Table, Memb>, _ address: UInt32)
  -> Int
{
  routes.read(FastHashed(address)) { $0.next } ?? 0
}

@inline(never)
func lookUpInSection(
  _ routes: borrowing RCUDictionary<FastHashed<UInt32>, Table, Memb>, _ address: UInt32,
  _ section: borrowing ReadSection<Memb>
) -> Int {
  routes.load(FastHashed(address), section)?.value.names.count ?? 0
}

@inline(never)
func iterateList(_ tables: borrowing RCUList<Table, Memb>) -> Int {
  var sum = 0
  tables.forEach { sum &+= $0.next }
  return sum
}

@inline(never)
func loadPointer(_ table: borrowing RCUPointer<Table, Memb>) -> Int {
  Memb.read { section in table.load(section)?.value.next ?? 0 }
}

@inline(never)
func countAcquire(_ count: borrowing Bigref) {
  count.acquire()
}

@inline(never)
func countRelease(_ count: borrowing Bigref) {
  count.release()
}

@inline(never)
func countTryAcquireLive(_ count: borrowing Bigref) -> Bool {
  count.tryAcquireLive()
}

// Another type than above: two equal functions would be merged under a third name.
@inline(never)
func countTryAcquire(_ count: borrowing Bigref) -> Int {
  count.tryAcquire() ? 1 : 2
}

@inline(never)
func countUnderLabel(_ count: borrowing Bigref) -> Int8 {
  count.tryAcquire(for: "packet") ? 3 : 4
}

/// Takes an object out of the section: a retain, which `check` must find.
@inline(never)
func retainOnPurpose(_ router: Router) -> Owner {
  router.routes.read { $0.owner }
}

let router = Router()
let hooks = HookPoint<Int, Memb>("memb", argumentType: "int.1", flavor: Memb.self)
let fastHooks = HookPoint<Int, QSBR>("qsbr", argumentType: "int.1", flavor: QSBR.self)
var argument = 0
let online = QSBR.withOnlineReader { reader in
  readOnline(router, reader) + dispatchOnline(fastHooks, &argument, reader)
}
let domain = SleepableDomain()
print(readSleepable(domain, SleepableBox(Table(), in: domain)))
let count = Bigref()
countAcquire(count)
print(countUnderLabel(count), countTryAcquire(count), countTryAcquireLive(count))
for _ in 0..<4 { countRelease(count) }
print(dispatchThroughMemb(hooks, &argument))
print(readBulletproof(router), QSBR.withOnlineReader { _ in readThroughQSBR(router) })
print(readThroughMemb(router), readTwoInOneSection(router), online, retainOnPurpose(router) === Owner())
print(readGenerically(router))
router.routes.lend { routes in
  var cached = routes.cached()
  print(readProjection(routes), readKeptProjection(routes.map(\.names)))
  print(readCached(&cached))
}
let routes = RCUDictionary<FastHashed<UInt32>, Table, Memb>()
routes[FastHashed(1)] = Table()
let tables = RCUList<Table, Memb>()
tables.append(Table())
print(lookUpNumber(routes, 1), Memb.read { section in lookUpInSection(routes, 1, section) })
print(iterateList(tables), loadPointer(RCUPointer(Table(), flavor: Memb.self)))
let failures = cellAddressFailures()
precondition(failures.isEmpty, "read where the box is not: \(failures)")
