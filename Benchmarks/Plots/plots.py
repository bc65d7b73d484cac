"""Draws the plots of one run of `make bench`, and writes which run it was into README.md."""

import json
import pathlib
import re
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: E402

# Readable on white and on black: nothing darker or lighter than these, and no background.
GRAY = "#8b949e"
OURS = ["#2f81d6", "#1f9e89", "#7a6fd0", "#3fa7c4", "#5b8c3a"]
C = ["#d9822b", "#c0504d", "#b8860b", "#a0785a", "#d0699a"]
OTHERS = ["#8c8c8c", "#9a7fb0", "#b07f7f", "#7f9ab0", "#93a05c", "#a8915f", "#6f9f8f", "#a06f8f"]
MARKERS = "osD^vP*Xph<>d8"

plt.rcParams.update({
    "svg.hashsalt": "quiescence", "font.size": 9, "text.color": GRAY, "axes.labelcolor": GRAY,
    "axes.edgecolor": GRAY, "xtick.color": GRAY, "ytick.color": GRAY, "axes.titlecolor": GRAY,
    "axes.grid": True, "grid.color": GRAY, "grid.alpha": 0.25, "legend.frameon": False, "legend.fontsize": 8,
    "axes.titlesize": 10,
})

READERS = [
    "RCUBox.read, QSBR", "RCUBox.read, Memb", "plain load, C", "memb, C inlined", "memb, C called", "ck_epoch, C",
    "ck_brlock, C", "rte_rcu_qsbr, C", "pthread_rwlock, C", "std::shared_mutex, C++",
    "std::atomic<std::shared_ptr>, C++", "Mutex, Swift", "AtomicReference.load", "actor, Swift",
]


def is_ours(name):
    return bool(re.match(r"(await )?(RCU|Memb|QSBR|MB\b|Bulletproof|Bigref|KillBatch|Sleepable|HookPoint|ModuleManager)", name))


def is_liburcu(name):
    return bool(re.match(r"(await )?(memb|qsbr|mb|bp)[ ,]", name)) or "under memb" in name


class Style:
    """One look for each contender of a plot, the same in all of its panels."""

    def __init__(self):
        self.looks = {}

    def of(self, name):
        if name not in self.looks:
            ours, c = is_ours(name), is_liburcu(name)
            palette = OURS if ours else C if c else OTHERS
            same = sum(1 for other in self.looks if (is_ours(other), is_liburcu(other)) == (ours, c))
            self.looks[name] = {
                "color": palette[same % len(palette)], "marker": MARKERS[len(self.looks) % len(MARKERS)],
                "linewidth": 2.2 if ours else 1.3, "linestyle": "-" if ours else "--" if c else ":", "markersize": 5,
            }
        return self.looks[name]


def figure(panels, title):
    drawing, axes = plt.subplots(1, panels, figsize=(4.6 * panels + 2.9, 4.2), squeeze=False)
    drawing.suptitle(title, color=GRAY, fontsize=11, x=0.02, ha="left")
    return drawing, list(axes[0])


def save(drawing, path):
    handles, labels = [], []
    for axes in drawing.axes:
        for handle, label in zip(*axes.get_legend_handles_labels()):
            if label not in labels:
                handles.append(handle)
                labels.append(label)
    drawing.tight_layout(rect=(0, 0, 1 - 2.7 / drawing.get_figwidth(), 0.96))
    drawing.legend(handles, labels, loc="center right")
    drawing.savefig(path, transparent=True, metadata={"Date": None, "Creator": None})
    plt.close(drawing)
    # The writer leaves blanks at ends of lines.
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


def lines(axes, rows, names, x, y, style):
    """A line for each contender that took part."""
    for name in names:
        points = sorted((x(row), y(row)) for row in rows if row["contender"] == name and y(row) is not None)
        if points:
            axes.plot(*zip(*points), label=name, **style.of(name))


def names_of(rows):
    return list(dict.fromkeys(row["contender"] for row in rows))


def nanoseconds(row):
    return row["ns"]


def in_units(units):
    """1500 as 1.5 of the second unit, and so on by thousands."""
    def text(number, _):
        for power, unit in reversed(list(enumerate(units))):
            if abs(number) >= 1000 ** power or power == 0:
                return f"{number / 1000 ** power:g} {unit}".strip()
    return FuncFormatter(text)


TIME = in_units(["ns", "µs", "ms", "s"])
BYTES = in_units(["B", "kB", "MB", "GB"])
PLAIN = in_units([""])


def decorate(axes, title, x, y, unit=TIME, x_is_log=False, ticks=None, labels=None):
    axes.set_title(title, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 100 else (1,)))
    axes.yaxis.set_major_formatter(unit)
    axes.yaxis.set_minor_formatter(NullFormatter())
    if x_is_log:
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xlim(-0.3, max(ticks) * 1.5)
        axes.xaxis.set_minor_locator(plt.NullLocator())
    if ticks is not None:
        axes.set_xticks(ticks, labels or [f"{tick:,g}" if tick < 1e6 else f"{tick:g}" for tick in ticks])


def threads(row):
    return row["threads"]


def value(row):
    return row["value"]


def distinct(rows, key):
    return sorted({key(row) for row in rows})


def read(rows, path):
    drawing, (axes,) = figure(1, "A read")
    lines(axes, rows, READERS, threads, nanoseconds, Style())
    decorate(axes, "", "reading threads", "a read", ticks=distinct(rows, threads))
    save(drawing, path)


def update(rows, path):
    drawing, (axes,) = figure(1, "A read while a writer updates")
    rates = sorted({row["value"] for row in rows}, key=lambda rate: float("inf") if rate is None else rate)
    names = [name for name in READERS if name != "plain load, C"]
    lines(axes, rows, names, lambda row: rates.index(row["value"]), nanoseconds, Style())
    labels = ["as fast as it can" if rate is None else f"{rate:,.0f}" for rate in rates]
    decorate(axes, "", "updates a second", "a read", ticks=range(len(rates)), labels=labels)
    save(drawing, path)


def section(rows, path):
    drawing, (axes,) = figure(1, "Sections of every length, a reader on each processor")
    names = [name for name in READERS if name != "AtomicReference.load"]
    lines(axes, rows, names, value, nanoseconds, Style())
    decorate(axes, "", "steps of work in the section", "a section", x_is_log=True, ticks=distinct(rows, value))
    save(drawing, path)


def grace_period(rows, path):
    drawing, (idle, busy) = figure(2, "A grace period")
    style = Style()
    resting = [row for row in rows if row["parameter"] == "idle" and row["contender"].endswith(("()", "rcu, C"))
               and not row["contender"].startswith("await")]
    reading = [row for row in rows if row["parameter"] == "busy"]
    lines(idle, resting, names_of(resting), value, nanoseconds, style)
    decorate(idle, "threads that do nothing", "registered threads", "p50", x_is_log=True, ticks=distinct(resting, value))
    lines(busy, reading, names_of(reading), value, nanoseconds, style)
    decorate(busy, "threads that read without a pause", "busy readers", "p50", ticks=distinct(reading, value))
    save(drawing, path)


def retire(rows, path):
    drawing, (call, flood) = figure(2, "Retiring")
    style = Style()
    calls = [row for row in rows if row["parameter"] is None]
    lines(call, calls, names_of(calls), threads, nanoseconds, style)
    decorate(call, "a call", "retiring threads", "processor time", ticks=distinct(calls, threads))
    for row in rows:
        if row["parameter"] == "flood":
            look = dict(style.of(row["contender"]), linestyle="none", markersize=8)
            flood.plot([row["ns"]], [max(1, row["also"]["peak_bytes"])], label=row["contender"], **look)
    decorate(flood, "a flood from one thread", "ns to allocate and retire an object", "memory that waits, at most", BYTES)
    save(drawing, path)


def bigref(rows, path):
    drawing, (axes,) = figure(1, "One up and one down")
    rows = [row for row in rows if row["parameter"] is None]
    lines(axes, rows, names_of(rows), threads, nanoseconds, Style())
    decorate(axes, "", "counting threads", "up and down", ticks=distinct(rows, threads))
    save(drawing, path)


def sleepable(rows, path):
    drawing, (axes,) = figure(1, "Sections that may suspend")
    some = [row for row in rows if row["contender"] not in ("what a domain adds to that",)]
    lines(axes, some, names_of(some), threads, nanoseconds, Style())
    decorate(axes, "", "reading threads", "a section, a call, a grace period", ticks=distinct(some, threads))
    save(drawing, path)


def hooks(rows, path):
    drawing, (axes,) = figure(1, "A round through the hooks")
    lines(axes, rows, names_of(rows), value, nanoseconds, Style())
    decorate(axes, "", "hooks", "a round", ticks=distinct(rows, value))
    save(drawing, path)


def unload(rows, path):
    drawing, (latency, calls) = figure(2, "Unloading what is being called")
    rows = [row for row in rows if row["parameter"] is None]
    style = Style()
    lines(latency, rows, names_of(rows), threads, nanoseconds, style)
    decorate(latency, "the unload", "calling threads", "p50", ticks=distinct(rows, threads))
    busy = [row for row in rows if row["threads"] > 0]
    lines(calls, busy, names_of(busy), threads, lambda row: row["also"].get("call_ns"), style)
    decorate(calls, "the calls meanwhile", "calling threads", "a call", ticks=distinct(busy, threads))
    save(drawing, path)


def urcu(rows, path):
    drawing, (axes,) = figure(1, "liburcu's own loops: Swift beside C")
    compared = [row for row in rows if row["ratio_to_c"] is not None]
    programs = list(dict.fromkeys(column(row) for row in compared))
    style = Style()
    for flavor in dict.fromkeys(row["contender"].split(", ")[1] for row in compared):
        points = [(programs.index(column(row)), row["ratio_to_c"]) for row in compared
                  if row["contender"].split(", ")[1] == flavor]
        axes.plot(*zip(*points), label=flavor, **style.of(flavor))
    axes.axhline(1, color=GRAY, linewidth=1)
    decorate(axes, "", "", "time, of the same in C", PLAIN, ticks=range(len(programs)), labels=programs)
    plt.setp(axes.get_xticklabels(), rotation=20, ha="right")
    save(drawing, path)


def column(row):
    return f"{row['contender'].split(', ')[0]} {row['threads']}, {row['value']:g}"


DRAWINGS = {
    "read": read, "update": update, "section": section, "grace-period": grace_period, "retire": retire,
    "bigref": bigref, "sleepable": sleepable, "hooks": hooks, "unload": unload, "urcu": urcu,
}

# What the page quotes, beside the plots: experiment, contender, threads, value of the parameter.
QUOTED = [
    ("read", "plain load, C", 1, None), ("read", "RCUBox.read, QSBR", 1, None), ("read", "memb, C inlined", 1, None),
    ("read", "RCUBox.read, Memb", 1, None), ("read", "Mutex, Swift", 1, None), ("read", "Mutex, Swift", "most", None),
    ("grace-period", "memb synchronize_rcu, C", 1, 1000), ("grace-period", "Memb.synchronize()", 1, 1000),
    ("retire", "memb call_rcu, C", 1, None), ("retire", "Memb.retire(object)", 1, None),
    ("bigref", "Bigref", 1, None), ("bigref", "one shared atomic, C", 1, None), ("bigref", "Bigref", "most", None),
    ("bigref", "one shared atomic, C", "most", None), ("bigref", "Bigref.kill, one by one", 1, 10000),
    ("bigref", "KillBatch.confirm", 1, 10000), ("sleepable", "SleepableBox.read", 1, None),
    ("sleepable", "await SleepableDomain.read", 1, None), ("sleepable", "await, a count around it", 1, None),
    ("sleepable", "await", 1, None), ("sleepable", "await SleepableDomain.synchronize()", 1, None), ("hooks", "array under memb, C", 1, 4),
    ("hooks", "HookPoint, C hooks, Memb", 1, 4), ("unload", "ModuleManager, bigref", 2, None),
    ("unload", "pthread_rwlock and dlclose, C", 2, None),
]


def quoted(rows):
    text = ["| experiment | contender | threads | | ns | of the same in C |", "|---|---|---:|---|---:|---:|"]
    for experiment, contender, count, at in QUOTED:
        some = [row for row in rows if (row["experiment"], row["contender"]) == (experiment, contender)
                and row["value"] == at]
        most = max((row["threads"] for row in some), default=None)
        row = next((row for row in some if row["threads"] == (most if count == "most" else count)), None)
        if row is None:
            continue
        ratio = "" if row["ratio_to_c"] is None or row["c"] == contender else f"{row['ratio_to_c']:.2f}"
        parameter = "" if at is None else f"{row['parameter']} {at:g}"
        text.append(f"| `{experiment}` | {contender} | {row['threads']} | {parameter} | {row['ns']:.4g} | {ratio} |")
    return text


def write_page(page, rows_file, machine, rows):
    """Replaces what stands between the two marks."""
    text = page.read_text()
    count = len(machine["processors"])
    run = [
        f"The run: [{rows_file.name}](Results/{rows_file.name}), {machine['date']}, on {count} "
        f"processor{'s' if count > 1 else ''}, {machine['model']}, Linux {machine['kernel']}, {machine['compiler']}, "
        f"{machine['libc']}.", "", *quoted(rows),
    ]
    begin, end = "<!-- run -->", "<!-- end of run -->"
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        sys.exit(f"bench: {page.name} has no place for the run")
    page.write_text("\n".join([before + begin, "", *run, "", end]) + after)


def main():
    rows_file = pathlib.Path(sys.argv[1]).resolve()
    objects = [json.loads(line) for line in rows_file.read_text().splitlines()]
    machine, rows = objects[0]["machine"], objects[1:]
    for name, draw in DRAWINGS.items():
        some = [row for row in rows if row["experiment"] == name]
        if some:
            draw(some, rows_file.with_name(f"{name}.svg"))
    page = rows_file.parent.parent / "README.md"
    if rows_file.parent.name == "Results" and page.exists():
        write_page(page, rows_file, machine, rows)
    print(f"bench: drew {', '.join(sorted({row['experiment'] for row in rows}))}", file=sys.stderr)


main()
