import ControlProtocol
import Foundation
import ModuleFiles
import ModuleManager

// What the manager knows, as replies say it.

extension ParameterRow {
  init(_ status: ParameterStatus) {
    self.init(parameter: status.name, value: status.value, type: status.type, writable: status.isWritable)
  }
}

extension ModuleRules {
  init(module: String, _ rules: ModuleFiles.ModuleConfiguration.Rules) {
    self.init(
      module: module, isBlacklisted: rules.isBlacklisted, aliases: rules.aliases, options: rules.options,
      softBefore: rules.softBefore, softAfter: rules.softAfter, mayBeLoaded: rules.mayBeLoaded,
      mayBeUnloaded: rules.mayBeUnloaded)
  }
}

extension ModuleRow {
  init(_ status: ModuleStatus) {
    self.init(
      module: status.name, state: status.state.rawValue, activity: status.activity?.description,
      size: status.size, users: status.users,
      holders: status.holders.map { Holder(label: $0.label, count: $0.count) },
      ageSeconds: status.age / .seconds(1), path: status.path,
      residentReason: status.residency, version: status.version,
      summary: status.summary, hookPoints: status.hookPoints, objects: status.objects,
      dependsOn: status.dependsOn, dependents: status.dependents)
  }
}

extension UnloadedRow {
  init(_ unloaded: UnloadedModule) {
    self.init(
      module: unloaded.name, version: unloaded.version, path: unloaded.path, end: unloaded.end.rawValue,
      ageSeconds: unloaded.instant.duration(to: .now) / .seconds(1))
  }
}

extension TraceRow {
  init(_ event: TraceEvent, threadName: String?) {
    self.init(
      number: event.number, time: event.nanoseconds, thread: event.thread, threadName: threadName,
      event: event.kind.description, phase: event.phase.description, module: event.module,
      label: event.label.isEmpty ? nil : event.label,
      errno: event.errno == 0 ? nil : errnoName(event.errno),
      nanoseconds: event.duration.map { Int($0 / .nanoseconds(1)) }, beginning: event.beginning)
  }
}

extension ControlError {
  /// The manager's own words.
  package init(_ error: ModuleError) {
    let suffix = " (\(error.errnoName))"
    let line = error.description
    self.init(
      error.errno, line.hasSuffix(suffix) ? String(line.dropLast(suffix.count)) : line,
      isWouldBlock: error.errnoName == "EWOULDBLOCK")
  }
}
