import Logging
import Quiescence
import QuiescenceLogging

func reportStalls(to logger: Logger) {
  StallReports.log(to: logger)
  // Of each flavor; the default is ten in ten seconds.
  StallReports.limit = StallReports.Limit(5, per: .seconds(60))
}
// warning server: cause=readers flavor=Memb milliseconds=10 readers=[worker-3 (20714) asleep]
//   a grace period waits for readers that stay inside their sections
