import ArgumentParser

/// The command line: one file a command.
@main
struct Quiesce: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "quiesce",
    abstract: "Load and unload code in a running program, under traffic, without a race.",
    discussion: """
      `quiesce host` relays UDP datagrams and passes each through the hooks of the modules that are loaded. \
      The other commands talk to a running host over its control socket.

      Example:
        quiesce host --listen 127.0.0.1:4000 --forward 127.0.0.1:5000 &
        quiesce insmod conntrack && quiesce lsmod && quiesce rmmod conntrack
      """,
    version: "0.1.0",
    subcommands: [
      HostCommand.self, InsmodCommand.self, RmmodCommand.self, ReplaceCommand.self, ModprobeCommand.self,
      LsmodCommand.self, SetCommand.self,
      CatCommand.self,
      StatCommand.self, TraceCommand.self, DepmodCommand.self, ModinfoCommand.self, KeygenCommand.self,
      SignCommand.self, VerifyCommand.self, DemoCommand.self,
      SchemesCommand.self,
      TortureCommand.self,
    ])
}
