import Foundation
import ModuleManager
import Quiescence
import Synchronization
import TestSupport

/// A module whose hook does what its argument says, for the tests of every scheme.
enum Guest {
  /// The argument of the hook points `point` and `second`.
  struct Argument: @unchecked Sendable {
    // Unchecked: one thread at a time uses it, and its flags are atomic.
    var command = Command.look.rawValue
    var result: Int32 = 0
    var calls: Int32 = 0
    var magic: Int32 = 0
    /// For `wait`: a flag that the hook raises, and a flag that it waits for.
    var flags: UnsafeMutablePointer<Int32>?
    /// The callbacks that hooks have attached. Each must be called once, inside a section.
    var callbackCount: Int32 = 0
    private var padding: Int32 = 0
    private var callbacks: (Callback?, Callback?, Callback?, Callback?)

    typealias Callback = @convention(c) () -> Void

    init(_ command: Command = .look, flags: UnsafeMutablePointer<Int32>? = nil) {
      self.command = command.rawValue
      self.flags = flags
    }

    /// Calls the attached callbacks, as the relay does when it is done with a packet.
    func finish() {
      Memb.read { _ in
        callbacks.0?()
        callbacks.1?()
        callbacks.2?()
        callbacks.3?()
      }
    }
  }

  /// The action of the hook.
  enum Command: Int32 {
    case look, acquireCount, releaseCount, acquire, release, unload, wait, retire, attachCount,
      attachReference, attachSlow, pause, waitAndAcquire, waitAndCount,
      getOwn, putOwn, unloadLater
  }

  static let argumentType = "guest.argument.1"
  static let magic: Int32 = 4711

  typealias Point = HookPoint<Argument, Memb>

  static func point(_ name: String = "point") -> Point {
    HookPoint(name, argumentType: argumentType, flavor: Memb.self)
  }

  /// A manager and its hook point.
  ///
  /// - Parameter isPatient: No call of a module's code is taken for a stuck one, however slow the
  ///   machine is: each job of the manager ends before the next one begins.
  static func manager(
    _ scheme: UnloadScheme, isPatient: Bool = false
  ) -> (manager: ModuleManager, point: Point) {
    let manager = isPatient ? ModuleManager(scheme: scheme, patience: nil) : ModuleManager(scheme: scheme)
    let point = point()
    manager.provide(point)
    return (manager, point)
  }

  /// Compiles a file of its own with this module. `init` fails at the given step from 1 to 4;
  /// `exit` refuses the given number of times.
  static func file(
    _ name: String = "guest", failingAt step: Int = 0, refusals: Int = 0, _ more: String = ""
  ) -> String {
    let key = "\(name)-\(step)-\(refusals)-\(more.hashValue)"
    let original = built.withLock { built in
      if let path = built[key] { return path }
      let code =
        "#define NAME \"\(name)\"\n#define FAIL_AT \(step)\n#define REFUSALS \(refusals)\n" + code
        + "QUIESCENT_MODULE(.name = NAME, .init = init, .exit = leave \(more))\n"
      let path = Compiler.module(code, in: SampleModules.folder, named: "guest-\(UUID().uuidString)")
      built[key] = path
      return path
    }
    let copy = SampleModules.folder.appending(path: "copy-\(UUID().uuidString).so").path
    do { try FileManager.default.copyItem(atPath: original, toPath: copy) } catch { fatalError("\(error)") }
    return copy
  }

  private static let built = Locked<[String: String]>([:])

  private static let code = """
    #include <errno.h>
    #include <sched.h>
    #include <stdlib.h>
    #include <string.h>
    #include "quiescent_module.h"
    struct argument {
      int command, result, calls, magic;
      volatile int *flags;
      int count, padding;
      void (*callbacks[4])(void);
    };
    static const struct quiescent_host *host;
    static struct quiescent_self *self;
    static struct quiescent_bigref *packets;
    static volatile int alive = \(magic);
    static int refusals = REFUSALS;
    static struct quiescent_users users __attribute__((unused)) = QUIESCENT_USERS;
    static int inside;

    static void last(void *argument) { *(volatile int *)argument = 0; free(argument); }

    // Both stay in the module's code for a while after the last release.
    static volatile int *gate;
    static void linger(void) {
      if (gate == NULL) return;
      __atomic_store_n(&gate[0], 1, __ATOMIC_RELEASE);
      while (__atomic_load_n(&gate[1], __ATOMIC_ACQUIRE) == 0) sched_yield();
    }
    static void packet_done(void) { host->bigref_release(packets); linger(); }
    static void reference_done(void) { host->release(self); linger(); }

    static int hook(void *argument, void *context) {
      struct argument *a = argument;
      __atomic_fetch_add(&inside, 1, __ATOMIC_SEQ_CST);
      a->calls += 1;
      a->magic = *(volatile int *)context;
      switch (a->command) {
      case 1: host->bigref_acquire(packets); break;
      case 2: host->bigref_release(packets); break;
      case 3: a->result = host->acquire(self); break;
      case 4: host->release(self); break;
      case 5: a->result = host->unload(self); break;
      case 6:
        __atomic_store_n(&a->flags[0], 1, __ATOMIC_RELEASE);
        while (__atomic_load_n(&a->flags[1], __ATOMIC_ACQUIRE) == 0) sched_yield();
        break;
      case 7: a->result = host->retire(self, last, malloc(sizeof(int))); break;
      case 8:
        host->bigref_acquire(packets);
        a->callbacks[a->count++] = packet_done;
        break;
      case 9:
        a->result = host->acquire(self);
        if (a->result == 0) a->callbacks[a->count++] = reference_done;
        break;
      case 10:
        gate = a->flags;
        host->bigref_acquire(packets);
        a->callbacks[a->count++] = packet_done;
        break;
      case 11: sched_yield(); break;
      case 12:
      case 13:
        __atomic_store_n(&a->flags[0], 1, __ATOMIC_RELEASE);
        while (__atomic_load_n(&a->flags[1], __ATOMIC_ACQUIRE) == 0) sched_yield();
        if (a->command == 13) {
          host->bigref_acquire(packets);
          a->callbacks[a->count++] = packet_done;
        } else if ((a->result = host->acquire(self)) == 0) {
          a->callbacks[a->count++] = reference_done;
        }
        break;
      case 14: a->result = quiescent_users_get(&users); break;
      case 15: quiescent_users_put(&users); break;
      case 16:
        __atomic_store_n(&a->flags[0], 1, __ATOMIC_RELEASE);
        a->result = host->unload_later(self);
        while (__atomic_load_n(&a->flags[1], __ATOMIC_ACQUIRE) == 0) sched_yield();
        break;
      }
      a->magic = alive;
      __atomic_fetch_sub(&inside, 1, __ATOMIC_SEQ_CST);
      return QUIESCENT_ACCEPT;
    }

    static long look(void *context, char *buffer, size_t capacity, uint64_t offset) {
      if (offset >= 5) return 0;
      size_t left = 5 - offset, count = left < capacity ? left : capacity;
      memcpy(buffer, &"hello"[offset], count);
      return (long)count;
    }

    static int init(const struct quiescent_host *h, struct quiescent_self *s) {
      host = h; self = s;
      if (FAIL_AT == 1) return -ENODEV;
      packets = h->bigref_create(s, "packets in flight");
      if (packets == NULL) return -ENOMEM;
      if (FAIL_AT == 2) return -ENODEV;
      int error = h->register_hook(s, "point", "\(argumentType)", 0, hook, (void *)&alive);
      if (error) return error;
      if (FAIL_AT == 3) return -ENODEV;
      error = h->publish(s, NAME "-object", look, NULL);
      if (error) return error;
      if (FAIL_AT == 4) return -ENODEV;
      return 0;
    }

    static int leave(void) {
      if (alive == 0) abort();
      if (__atomic_load_n(&inside, __ATOMIC_SEQ_CST) != 0) host->log(self, "its exit runs while hooks do");
      if (refusals-- > 0) return -EBUSY;
      if (!host->bigref_is_zero(packets)) return -EBUSY;
      alive = 0;
      return 0;
    }

    static int64_t usecount(void) __attribute__((unused));
    static int64_t usecount(void) { return users.count; }
    static void stop(void) __attribute__((unused));
    static void stop(void) { host->log(self, "stop"); }

    static int cleanup(int force) __attribute__((unused));
    static int cleanup(int force) { return quiescent_users_close(&users, force); }

    """
}

/// The error of a request, or nil if it did not fail.
func moduleError<Result>(_ body: () async throws -> Result) async -> ModuleError? {
  do {
    _ = try await body()
    return nil
  } catch {
    if let error = error as? ModuleError { return error }
    fatalError("not a ModuleError: \(error)")
  }
}

/// Suspends while a module of the name is loaded. A load whose `init` failed is answered before its
/// module has gone.
func whenGone(_ name: String, _ manager: ModuleManager) async {
  while manager.list().contains(where: { $0.name == name }) { await Task.yield() }
}

extension UnloadOutcome {
  var isUnmapped: Bool {
    if case .unloaded(let report) = self { report.unmapped } else { false }
  }
}

/// Two flags that a hook in C and a test wait for.
final class HookFlags: @unchecked Sendable {
  // Unchecked: both words are atomic.
  private let words = UnsafeMutablePointer<Atomic<Int32>>.allocate(capacity: 2)

  init() { for index in 0..<2 { (words + index).initialize(to: Atomic(0)) } }
  deinit { words.deallocate() }

  var address: UnsafeMutablePointer<Int32> {
    UnsafeMutableRawPointer(words).assumingMemoryBound(to: Int32.self)
  }
  var isInside: Bool { words[0].load(ordering: .acquiring) != 0 }
  func letGo() { words[1].store(1, ordering: .releasing) }
}
