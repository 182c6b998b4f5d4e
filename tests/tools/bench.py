#!/usr/bin/env python3
"""bench/run.py with programs that only pretend: what is compared, what is left out, what fails,
which runs count, which targets are met. TAP; nothing is measured here."""

import json
import os
import shutil
import subprocess
import sys

from tap import end, ok

SRC = os.environ["srcdir"]
RUN = SRC + "/bench/run.py"

# Keeps to bench/side.h; its rates are those of its rounds, in the file beside it, or what goes wrong.
PROGRAM = r'''#!/usr/bin/env python3
import json, os, sys
words = sys.argv[1:]
def say(**event):
    print(json.dumps(event), flush=True)
if words[0] == "server":
    say(event="ready", address="here")
    marks = 0
    for line in sys.stdin:
        say(event="mark", cpu_ns=marks * 1000, rss_kib=1000 + 40000 * marks)
        marks += 1
    say(event="end", cpu_ns=5, rss_kib=5)
    sys.exit(0)
with open(sys.argv[0] + ".rates") as f:
    rates = json.load(f)
rate = rates.pop(0)
with open(sys.argv[0] + ".rates", "w") as f:
    json.dump(rates, f)
if rate == "cannot":
    sys.stderr.write("not made for that\n")
    sys.exit(2)
if rate == "fails":
    sys.stderr.write("it is broken\n")
    sys.exit(1)
if words[2] == "idle":
    say(event="held", count=int(words[words.index("--count") + 1]), ns=1)
    sys.stdin.read()
    sys.exit(0)
if words[2] == "handshake": # a refusal costs what the round says, of what costs 1 ms
    cost = rate if "--limit" in words else 1
    say(event="result", mode=words[2], handshakes=100, ns=1000000000, cpu_ns=1,
        server_cpu_ns=int(cost * 1e8))
    sys.stdin.read()
    sys.exit(0)
size = int(words[words.index("--size") + 1])
if "--share" in words: # the rate is that of the slowest, to the fair share
    many = int(words[words.index("--connections") + 1])
    say(event="result", mode=words[2], size=size, messages=1000 * many, bytes=1000 * many * size,
        ns=1000000000, cpu_ns=1, slowest=int(1000 * rate), fastest=2000)
    sys.stdin.read()
    sys.exit(0)
say(event="result", mode=words[2], size=size, messages=int(rate * 125e6 / size), bytes=int(rate * 125e6),
    ns=1000000000, cpu_ns=int(rate * 125e6))
'''


def run(programs, *words):
    """Exit status, what it printed, and its JSON, with these programs doing so in their rounds."""
    shutil.rmtree("bench", ignore_errors=True)
    os.mkdir("bench")
    for name, rates in programs.items():
        with open("bench/" + name, "w", encoding="utf-8") as f:
            f.write(PROGRAM)
        os.chmod("bench/" + name, 0o755)
        with open(f"bench/{name}.rates", "w", encoding="utf-8") as f:
            json.dump(rates, f)
    env = {**os.environ, "builddir": os.getcwd(), "TBQUIC_INTEROP": os.getcwd() + "/nowhere"}
    done = subprocess.run([sys.executable, "-B", RUN, "--seconds", "0.1", "--json", "out.json", *words],
                          env=env, capture_output=True, text=True, check=False)
    try:
        with open("out.json", encoding="utf-8") as f:
            report = json.load(f)
    except (OSError, ValueError):
        report = {}
    return done.returncode, done.stdout + done.stderr, report


def program(report, mode, name):
    entry = next(m for m in report["modes"] if m["name"] == mode)
    return entry["programs"][name]


def target(report, text):
    return next(t for t in report["targets"] if t["target"].startswith(text))


def rounds():
    status, text, report = run({"speed": [1, 9, 4], "floor": [2, 10, 5], "zmq": [1, 3, 2]},
                               "--runs", "3", "--programs", "libtbquic,floor,zmq", "bulk-64k")
    told = program(report, "bulk-64k", "libtbquic")
    ok(status == 0 and abs(told["figures"]["Gbit/s"]["median"] - 4) < 0.01, "medians of all rounds", text)
    floor, zmq = told["to"]["floor"], told["to"]["zmq"]
    ok([round(floor[k], 2) for k in ("median", "least", "most")] == [0.8, 0.5, 0.9] and
       [round(zmq[k], 2) for k in ("median", "least", "most")] == [2, 1, 3],
       "ratios are of the same round, then their median", told["to"])
    met = [target(report, f"bulk-64k, Gbit/s: {b}")["met"] for b in (">= 0.93", ">= 1 of zmq")]
    ok(met == [False, True], "targets are met or missed", report["targets"])
    ok(target(report, "rate-100")["met"] is None, "or not measured", report["targets"])
    ok(abs(told["figures"]["client CPU"]["median"] - 1) < 0.01 and
       told["figures"]["server CPU"]["median"] > 0, "CPU time of the server is that between marks", told)
    order = [line.split(", ")[2].split(":")[0].strip() for line in text.splitlines() if "round" in line]
    ok(order == ["libtbquic", "floor", "zmq"] * 3, "programs take turns", text)
    ok(report["counts"] is None and "does not count" in text,
       "without ngtcp2's examples nobody knows whether it counts", text)


def what_goes_wrong():
    status, text, report = run({"speed": [1, 1], "zmq": ["cannot"], "tls": [1, "fails"]}, "--runs", "2",
                               "bulk-1m", "--programs", "libtbquic,floor,zmq,tls")
    ok(status == 1 and "tls FAILED" in text and "it is broken" in text, "who fails makes the run fail", text)
    ok("zmq is left out: not made for that" in text and "floor is left out: there is no" in text,
       "who cannot, and who is not there, is left out by name", text)
    ok(len(program(report, "bulk-1m", "libtbquic")["runs"]) == 2, "the others go on", text)


def idle():
    status, text, report = run({"speed": [0]}, "--runs", "1", "idle-1000", "--programs", "libtbquic")
    ok(status == 0 and program(report, "idle-1000", "libtbquic")["figures"]["KiB"]["median"] == 40,
       "memory for each idle connection is that between marks", text)
    ok([m["name"] for m in report["modes"]] == ["idle-1000"], "a mode's whole name means no other", text)


def crowds():
    status, text, report = run({"speed": [0.7, 0.9, 0.85, 0.05, 1, 0.3, 1, 0.04, 1]}, "--runs", "3",
                               "fairness", "overload", "--programs", "libtbquic")
    share = program(report, "fairness", "libtbquic")["figures"]["share"]["median"]
    ok(status == 0 and abs(share - 0.85) < 0.001, "the slowest one's share is of what each would get",
       text)
    cost = program(report, "overload", "libtbquic")["figures"]["ratio"]
    ok(abs(cost["median"] - 0.05) < 0.001 and abs(cost["most"] - 0.3) < 0.001,
       "what a refusal costs is told beside a handshake of the same round", text)
    ok([target(report, m)["met"] for m in ("fairness", "overload")] == [True, True],
       "both have a target", report["targets"])


def counting():
    sys.path.insert(0, SRC + "/bench")
    sys.dont_write_bytecode = True
    import run as bench  # pylint: disable=import-outside-toplevel,import-error

    def entries(floor, examples):
        return [{"name": "bulk-64k", "programs": {n: {"runs": [{"Gbit/s": v}]}
                                                  for n, v in (("floor", floor), ("ngtcp2", examples))}}]
    verdicts = [bench.judge_floor(entries(*rates), [20])[0] for rates in ((6, 3), (4, 3), (3.9, 2))]
    ok(verdicts == [True, False, False], "a run counts where the floor is no straw man", verdicts)


def main():
    cores = os.sched_getaffinity(0)
    if not shutil.which("taskset") or not {0, 1} <= cores:
        print("1..0 # SKIP two cores and taskset are needed")
        return
    for story in (rounds, what_goes_wrong, idle, crowds, counting):
        story()
    end()


main()
