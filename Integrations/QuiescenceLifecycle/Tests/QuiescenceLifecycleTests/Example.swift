import ModuleManager
import Quiescence
import QuiescenceLifecycle
import ServiceLifecycle

func services(_ server: any Service, _ manager: ModuleManager, _ sessions: RCUReclaimer) -> [any Service] {
  [
    ReclaimerService([sessions, Memb.reclaimer]),  // last: destroys what the others have retired
    ModuleManagerService(manager),  // then: no request calls a module any more
    server,  // shut down first
  ]
}
