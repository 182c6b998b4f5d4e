#!/usr/bin/env python3
"""How many instructions the library takes for what it does: `make bench-check` runs it.

    bench/count.py [--update] [--runs N] [--jobs N] [--json FILE] [MEASURE...]

Runs bench/count under valgrind, which counts instructions: other than times they do not depend on
what else the machine does. Each measure (all, or those whose name has one of the words in it) is
the difference of two runs, by what one has done more than the other. The figures are compared with
those in bench/instructions.json: what has grown by more than 5 % fails. --update writes them there
instead. --runs N measures N times and tells how far the runs are apart; the median counts. --jobs N
runs so many at once, as many as there are processors unless told otherwise.

Both ends count, with what they call of GnuTLS, ngtcp2 and the C library; the kernel does not.

Exit status: 0; 1 something takes more, or a run failed; 2 wrong arguments; 77 nothing can be
compared: no valgrind, or another processor, compiler or library than the figures are of.
"""

import argparse
import concurrent.futures
import json
import os
import re
import shutil
import statistics
import subprocess
import sys

SRC = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("builddir", os.path.join(SRC, "build"))
PROGRAM = os.path.join(BUILD, "bench/count")
STORED = os.path.join(SRC, "bench/instructions.json")
MORE = 0.05  # of growth is too much
SKIP = 77

# name: what bench/count is told, how many of it in the shorter run (the longer one has twice as
# many), and how many pieces each of them is.
MEASURES = {
    "engine/handshake-full": ("engine", "full", 8, 6, 1),
    "engine/handshake-resumed": ("engine", "resumed", 8, 6, 1),
    "engine/refusal": ("engine", "refusal", 8, 200, 1),
    "engine/retry": ("engine", "retry", 8, 200, 1),
    "engine/idle-30-s": ("engine", "idle", 8, 60, 1),
}
for world in ("engine", "sockets"):
    MEASURES |= {
        f"{world}/message-100": (world, "flood", 100, 4000, 1),
        f"{world}/message-1024": (world, "flood", 1024, 2000, 1),
        f"{world}/byte-of-64-KiB": (world, "flood", 65536, 100, 65536),
        f"{world}/roundtrip-64": (world, "talk", 64, 400, 1),
        f"{world}/request-64": (world, "request", 64, 400, 1),
    }


class CountError(Exception):
    pass


def valgrind(*arguments):
    # Symbols are looked up at the beginning, which drops out, and not when they are first needed.
    env = dict(os.environ, LD_BIND_NOW="1", LC_ALL="C")
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", PROGRAM,
               *(str(a) for a in arguments)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CountError(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    return done


def instructions(world, story, size, number):
    found = re.search(r"Collected : (\d+)", valgrind(world, story, number, size).stderr)
    if found is None:
        raise CountError("valgrind tells no count")
    return int(found.group(1))


def measure(name):
    world, story, size, number, pieces = MEASURES[name]
    less, more = (instructions(world, story, size, n) for n in (number, 2 * number))
    return (more - less) / (number * pieces)


def measured_with():
    """What the figures depend on, besides the library."""
    about = json.loads(valgrind("about").stdout)
    version = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True)
    about["valgrind"] = version.stdout.strip()
    about["flags"] = os.environ.get("CFLAGS", "")
    return about


def measure_all(names, runs, at_once):
    """{name: the values of its runs}."""
    values = {name: [] for name in names}
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        jobs = [(name, pool.submit(measure, name)) for _ in range(runs) for name in names]
        for name, job in jobs:
            values[name].append(job.result())
    return values


def told(value):
    return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def spread(values):
    return (max(values) - min(values)) / statistics.median(values)


def compare(values, stored):
    """Prints what was measured beside what is stored; the names of what takes more, and less."""
    more, less = [], []
    print(f"{'instructions for one':26} {'stored':>12} {'now':>12}")
    for name, runs in values.items():
        now, before = statistics.median(runs), stored.get(name)
        change = now / before - 1 if before else None
        line = f"{name:26} {told(before) if before else '-':>12} {told(now):>12}"
        line += f" {change:+8.2%}" if change is not None else f" {'new':>8}"
        if len(runs) > 1:
            line += f"   {len(runs)} runs, {spread(runs):.2%} apart"
        print(line)
        if change is not None and change > MORE:
            more.append(name)
        elif change is not None and change < -MORE:
            less.append(name)
    return more, less


def write(path, data):
    with open(path, "w", encoding="ascii") as f:
        json.dump(data, f, indent=4)
        f.write("\n")


def update(about, values, stored):
    figures = dict(stored.get("instructions", {}) if stored.get("measured_with") == about else {})
    figures.update({n: float(f"{statistics.median(runs):.6g}") for n, runs in values.items()})
    write(STORED, {"measured_with": about,
                   "instructions": {n: figures[n] for n in MEASURES if n in figures}})


def differences(about, stored):
    before = stored.get("measured_with", {})
    return [f"{key} is `{about[key]}` here, `{before.get(key)}` there"
            for key in about if about[key] != before.get(key)]


def skip(why):
    print(f"SKIP instructions are not compared: {why}")
    return SKIP


def check(arguments):
    names = [n for n in MEASURES if not arguments.measures or any(w in n for w in arguments.measures)]
    if not names:
        print(f"there are only: {' '.join(MEASURES)}", file=sys.stderr)
        return 2
    if shutil.which("valgrind") is None:
        return skip("there is no valgrind")
    with open(STORED, encoding="ascii") as f:
        stored = json.load(f)
    about = measured_with()
    other = differences(about, stored)
    if other and not arguments.update:
        return skip(f"those in bench/instructions.json are of another machine. {'; '.join(other)}."
                    " To compare here: `make bench-check UPDATE=1` before a change, without it after.")
    values = measure_all(names, arguments.runs, arguments.jobs)
    more, less = compare(values, {} if other else stored["instructions"])
    if arguments.json:
        write(arguments.json, {"measured_with": about, "runs": values})
    if arguments.update:
        update(about, values, stored)
        print("bench/instructions.json has these now")
        return 0
    for name in less:
        print(f"{name} takes less: `make bench-check UPDATE=1` keeps it so")
    for name in more:
        print(f"{name} takes more than {MORE:.0%} more than bench/instructions.json says. If that is"
              " meant: `make bench-check UPDATE=1`, and the reason into the commit message")
    return 1 if more else 0


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json")
    parser.add_argument("measures", nargs="*")
    try:
        return check(parser.parse_args())
    except (CountError, OSError) as e:
        print(f"count.py: {e}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
