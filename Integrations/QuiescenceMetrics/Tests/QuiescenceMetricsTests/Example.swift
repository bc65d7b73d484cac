import ModuleManager
import Quiescence
import QuiescenceMetrics

func recordMetrics(of manager: ModuleManager, and sessions: RCUReclaimer) -> Task<Void, Never> {
  let metrics = QuiescenceMetrics()  // of the factory that MetricsSystem.bootstrap has set
  metrics.add(Memb.self)
  metrics.add(QSBR.self)
  metrics.add(sessions, named: "sessions")
  metrics.add(manager, named: "filters")
  return Task { await metrics.run(every: .seconds(5)) }
}
