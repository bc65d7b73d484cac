"""Commands for gdb that name the modules of a process, or of a core file.

    gdb -x Scripts/quiescence-gdb.py PROGRAM CORE
    (gdb) quiescence-modules              the modules that were loaded, and the last that are gone
    (gdb) quiescence-address 0x7f0012     the module at an address
    (gdb) quiescence-address              the same, for the selected frame, and for each word of its
                                          stack that may be a return address

The layout is `struct qs_module_table` in Sources/_ImageShims/include/qs_crash.h.
"""
import struct

import gdb

STATES = ["unused", "being mapped", "loaded", "unmapped", "unloaded, still mapped"]
HEADER = "<IIII"
RECORD = "<IIiIQQQ64s32s256s"


def memory(address, size):
    return bytes(gdb.selected_inferior().read_memory(address, size))


def text(field):
    return field.split(b"\0")[0].decode(errors="replace")


class Record:
    def __init__(self, data):
        (_, self.state, self.thread, _, self.start, self.end, self.changed, name, version, path) = data
        self.name, self.version, self.path = text(name), text(version), text(path)

    @property
    def label(self):
        return f"{self.name} {self.version}".rstrip()

    @property
    def is_gone(self):
        return self.state == 3


def records():
    table = int(gdb.parse_and_eval("(unsigned long)&qs_module_table"))
    version, size, capacity, _ = struct.unpack(HEADER, memory(table, struct.calcsize(HEADER)))
    if version != 1:
        raise gdb.GdbError(f"the table of modules has version {version}, and this script knows 1")
    all_bytes = memory(table + struct.calcsize(HEADER), size * capacity)
    found = [Record(struct.unpack_from(RECORD, all_bytes, size * index)) for index in range(capacity)]
    return [record for record in found if record.state != 0]


def place(address, known):
    hits = [record for record in known if record.start <= address < record.end]
    if not hits:
        return None
    best = min(hits, key=lambda record: (record.is_gone, -record.changed))
    return f"{best.label}+{address - best.start:#x} ({STATES[best.state]}, {best.path})"


class Modules(gdb.Command):
    """The modules that were loaded, and the last that are gone."""

    def __init__(self):
        super().__init__("quiescence-modules", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        for record in sorted(records(), key=lambda record: record.changed):
            print(f"{record.start:#x}-{record.end:#x} {record.label} ({STATES[record.state]}, {record.path})")


class Address(gdb.Command):
    """The module at an address; without one, of the selected frame and of its stack."""

    def __init__(self):
        super().__init__("quiescence-address", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        known = records()
        if argument:
            address = int(gdb.parse_and_eval(f"(unsigned long)({argument})"))
            print(place(address, known) or f"{address:#x} belonged to no module that is known")
            return
        frame = gdb.selected_frame()
        print("in " + (place(frame.pc(), known) or f"no module, at {frame.pc():#x}"))
        stack = int(gdb.parse_and_eval("(unsigned long)$sp")) & ~7
        for offset in range(0, 65536, 8):
            try:
                (word,) = struct.unpack("<Q", memory(stack + offset, 8))
            except gdb.MemoryError:
                return
            name = place(word, known)
            if name:
                print(f"sp+{offset:#x}: {name}")


Modules()
Address()
