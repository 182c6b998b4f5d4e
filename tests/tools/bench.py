#!/usr/bin/env python3
"""bench/run.py with programs that only pretend: what is compared, what is left out, what fails,
which runs count, which targets are met. TAP; nothing is measured here."""

import json
import os
import shutil
import subprocess
import sys
import threading

from tap import end, ok

SRC = os.environ["srcdir"]
RUN = SRC + "/bench/run.py"
BUILD = os.environ.get("builddir", ".")
sys.dont_write_bytecode = True
sys.path[:0] = [SRC + "/bench", SRC + "/tests/net"]
import lab  # noqa: E402
import lossy as lossy_modes  # noqa: E402
import parts  # noqa: E402
import run as bench  # noqa: E402

# Keeps to bench/side.h; its rates are those of its rounds, in the file beside it, or what goes wrong.
# Over links that lose packets the library takes 9 Mbit/s and others take 10, from its second mark on.
PROGRAM = r'''#!/usr/bin/env python3
import json, os, sys
words = sys.argv[1:]
def say(**event):
    print(json.dumps(event), flush=True)
if words[0] == "server":
    say(event="ready", address="here")
    marks = 0
    for line in sys.stdin:
        share = 0.9 if sys.argv[0].endswith("speed") else 1
        say(event="mark", cpu_ns=marks * 1000, rss_kib=1000 + 40000 * marks, now_ns=marks * 1000000000,
            bytes=int(marks * 1250000 * share))
        marks += 1
    say(event="end", cpu_ns=5, rss_kib=5)
    sys.exit(0)
if "3600" in words:
    sys.stdin.read()
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

# A server that is ready, or a client that has delivered.
TBQ = r'''#!/usr/bin/env python3
import json, os, signal, sys
def say(**event):
    print(json.dumps(event), flush=True)
key = os.path.join(sys.argv[sys.argv.index("--state") + 1], "key") if "--state" in sys.argv else None
if sys.argv[1] == "server":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    first = not os.path.exists(key)
    os.makedirs(os.path.dirname(key), exist_ok=True)
    open(key, "w").close()
    say(event="ready" if first or not os.path.exists("fails") else "warning", uri="tbq://here")
    signal.pause()
say(event="connected")
say(event="delivered")
'''


def run(programs, *words, **more):
    """Exit status, what it printed, and its JSON, with these programs doing so in their rounds; more:
    of the environment."""
    shutil.rmtree("bench", ignore_errors=True)
    os.mkdir("bench")
    for name, rates in programs.items():
        with open("bench/" + name, "w", encoding="utf-8") as f:
            f.write(PROGRAM)
        os.chmod("bench/" + name, 0o755)
        with open(f"bench/{name}.rates", "w", encoding="utf-8") as f:
            json.dump(rates, f)
    env = {**os.environ, "builddir": os.getcwd(), "TBQUIC_INTEROP": os.getcwd() + "/nowhere",
           "WIRE": os.path.abspath(BUILD + "/tests/net/wire"), **more}
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


def lossy():
    programs = {"speed": [], "floor": [], "tls": []}
    why = lab.missing()
    if why:
        ok(True, f"over links that lose packets # SKIP {why}")
    else:
        status, text, report = run(programs, "loss-1-20ms", "--runs", "2")
        told = program(report, "loss-1-20ms", "libtbquic")
        ok(status == 0 and abs(told["figures"]["Mbit/s"]["median"] - 9) < 0.01,
           "over links that lose packets, what was taken between two marks is counted", text)
        ok([round(told["to"][o]["median"], 2) for o in ("floor", "tls")] == [0.9, 0.9] and
           all(target(report, f"loss-1-20ms, Mbit/s: >= 0.9 of {o}")["met"] for o in ("floor", "tls")),
           "beside the bare loop and TCP", report)
    os.makedirs("few", exist_ok=True)
    for name in ("taskset", "python3"):
        if not os.path.exists("few/" + name):
            os.symlink(shutil.which(name), "few/" + name)
    status, text, report = run(programs, "loss-1-20ms", "loss-5-100ms", "--runs", "1",
                               PATH=os.path.abspath("few"))
    left_out = [program(report, m, p)["left_out"] for m in ("loss-1-20ms", "loss-5-100ms")
                for p in ("libtbquic", "floor", "tls")]
    ok(status == 0 and all(t and ("there is no ip" in t or "not root" in t) for t in left_out),
       "where there can be no such link, all is left out by name", text)


def start():
    os.makedirs("cli", exist_ok=True)
    with open("cli/tbq", "w", encoding="utf-8") as f:
        f.write(TBQ)
    os.chmod("cli/tbq", 0o755)
    status, text, report = run({"speed": []}, "start", "--runs", "2")
    modes = ("start-server", "start-client")
    ms = [program(report, m, "libtbquic")["figures"]["ms"]["least"] for m in modes]
    ok(status == 0 and min(ms) > 0 and all(target(report, m)["met"] is not None for m in modes),
       "how soon tbq is of use is measured, and has targets", text)
    with open("fails", "w", encoding="utf-8"):
        pass
    status, text, report = run({"speed": []}, "start-server", "--runs", "1")
    os.remove("fails")
    ok(status == 1 and "no `ready`" in text, "a server that is not ready again fails", text)


class Pretended:
    """A program, of which all rounds are there at once or none goes on."""

    name = "libtbquic"

    def __init__(self, rounds_of_it):
        self.all_here = threading.Barrier(rounds_of_it)

    def lacks(self):
        return None


class Several(parts.Mode):
    at_once, unit = 3, "x"

    def once(self, program_of_it, seconds, number):
        program_of_it.all_here.wait(30)
        return {"x": number}


def at_once():
    mode = Several("several", "several at once", {})
    mode.only = ("libtbquic",)
    entry = bench.measure(mode, [Pretended(3)], 3, 1, [])
    ok(entry["programs"]["libtbquic"]["runs"] == [{"x": 0}, {"x": 1}, {"x": 2}],
       "rounds that go on at once stay apart", entry)
    link = lossy_modes.Lossy(1, 20)
    way = {"in": 0, "in_bytes": 0, "lost": 0, "missed": 1, "unsent": 0}
    mark = {"now_ns": 0, "bytes": 0}
    try:
        link.figures([mark, {"now_ns": 1, "bytes": 1}, way, {"ab": way, "ba": way}])
        why = "nothing"
    except parts.BenchError as e:
        why = str(e)
    ok("too slow for 2 frames" in why, "a link that could not keep up is no figure", why)


def counting():
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
    for story in (rounds, what_goes_wrong, idle, crowds, lossy, start, at_once, counting):
        story()
    end()


main()
