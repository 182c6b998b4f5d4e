#!/usr/bin/env python3
"""Measures libtbquic beside what else could be used, on this machine. `make bench` runs it.

    bench/run.py [--runs N] [--seconds S] [--json FILE] [--programs A,B] [--list] [WORD...]

For each mode (all, or those with one of the words in their name) all programs are run in turn, in N
rounds (5; more where a mode says so), each S seconds (2; the same): server on the first core, client
on the second. What two programs did in the same round is compared, as machines drift from minute to
minute. bench/lossy.py has the modes over links that lose packets, bench/start.py those of how soon
`tbq` is of use. Programs:

    libtbquic   bench/speed, this library, from poll(), as the bare loop is; where a process has many
                nodes, each by its one descriptor, from an epoll
    one-fd      the same by the one descriptor, where libtbquic is not driven so
    floor       bench/floor, ngtcp2 and GnuTLS with nothing around them
    zmq         bench/zmq, ZeroMQ with CURVE
    tls         bench/tls, TLS 1.3 over TCP
    ngtcp2      ngtcp2's own examples, over HTTP/3; their server sends a file

A program that has no such mode is left out of its table, which says so. bench/side.h has what the
programs and this one agree on.

A run counts when the floor is no straw man: in bulk it does 1.5 times what ngtcp2's examples do,
and 0.2 of what AES-128-GCM alone does on one core. Then each target is told, met or missed.

Exit status: 0; 1 when a program failed; 2 when nothing can be run. Missed targets change nothing.
"""

import argparse
import datetime
import json
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from lossy import LOSSY_MODES, LOSSY_TARGETS, tcp
from parts import (BUILD, CLIENT_CORE, KIB, MIB, PATIENCE, SECOND, SERVER_CORE, SRC, US, BenchError,
                   Cannot, Mode, Process)
from start import START_MODES, START_TARGETS

UNPACKED = os.environ.get("TBQUIC_INTEROP", "/var/cache/tbquic/interop")  # see tools/setup
FILE_SIZE = 512 * MIB  # what ngtcp2's examples carry
QUIET = 0.5  # load average
FILES = 1 << 17  # open files of a process
FLOOR_TO_EXAMPLES, FLOOR_TO_AES = 1.5, 0.2
TOTAL = ("client CPU", "server CPU")  # their sum is what a round trip costs


# ---- processes -------------------------------------------------------------------------------------


def cpu_of(pid):
    """CPU time of a process that runs, in ns."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        words = f.read().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) * SECOND / os.sysconf("SC_CLK_TCK")


def loopback_bytes():
    """All that has come over the loopback interface."""
    with open("/sys/class/net/lo/statistics/rx_bytes", encoding="ascii") as f:
        return int(f.read())


# ---- programs --------------------------------------------------------------------------------------


class Program:
    """One that keeps to bench/side.h."""

    def __init__(self, name, file, hint=""):
        """hint: what may help where it has not been built."""
        self.name, self.path, self.hint = name, os.path.join(BUILD, "bench", file), hint

    def words(self, mode):
        return [w for k, v in mode.options.items() for w in (k, str(v))]

    def lacks(self):
        """Why it cannot be run at all, or None."""
        return None if os.access(self.path, os.X_OK) else f"there is no {self.path}{self.hint}"

    def does(self, mode):
        return isinstance(mode, (OneWay, Trips, Handshakes, Idle))

    def once(self, mode, seconds):
        """The figures of one run."""
        words = self.words(mode)
        # The server is told what will come, should it want to make itself ready for that.
        with Process(SERVER_CORE, self.path, "server", *words) as server:
            address = server.need("ready", PATIENCE)["address"]
            before = server.mark()
            timed = [] if isinstance(mode, Idle) else ["--seconds", f"{seconds:g}"]
            with Process(CLIENT_CORE, self.path, "client", address, mode.word, *words,
                         *timed) as client:
                if isinstance(mode, Idle):
                    held = client.need("held", PATIENCE + mode.count / 50, server)
                    time.sleep(mode.settle)
                    after = server.mark()
                    client.end()
                    result = {**held, "rss": after["rss_kib"] - before["rss_kib"],
                              "connections": after.get("connections")}
                else:
                    many = mode.options.get("--connections", 1)
                    result = client.need("result", PATIENCE + 4 * seconds + many / 50, server)
                    after = server.mark()
                    client.end()
            result.setdefault("server_cpu_ns", after["cpu_ns"] - before["cpu_ns"])
            server.end("end")
        return mode.figures(result)


class Polled(Program):
    """The library, driven from poll()."""

    def words(self, mode):
        return super().words(mode) + (["--drive", "poll"] if mode.few_nodes else [])


class OneDescriptor(Program):
    """The library by its one descriptor, where Polled does it otherwise."""

    def does(self, mode):
        return mode.few_nodes


class Examples:
    """ngtcp2's client and server. What they say is thrown away; the file is all zeros."""

    name = "ngtcp2"

    def __init__(self):
        self.client, self.server = self.find("gtlsclient"), self.find("gtlsserver")

    @staticmethod
    def find(name):
        for folder in ("/usr/bin", "/usr/sbin", UNPACKED + "/usr/bin", UNPACKED + "/usr/sbin"):
            if os.access(f"{folder}/{name}", os.X_OK):
                return f"{folder}/{name}"
        return None

    def lacks(self):
        if not self.client or not self.server:
            return "ngtcp2's example programs are missing (tools/setup bench brings them)"
        return None if shutil.which("openssl") else "openssl is missing, which makes their key"

    def does(self, mode):
        return mode.name == "bulk-64k"

    def once(self, mode, _):
        with tempfile.TemporaryDirectory(prefix="tbquic-bench-") as folder:
            key, cert, docs = (os.path.join(folder, n) for n in ("key", "cert", "docs"))
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", key,
                            "-out", cert, "-subj", "/CN=bench", "-days", "1"],
                           check=True, capture_output=True)
            os.mkdir(docs)
            with open(os.path.join(docs, "file"), "wb") as f:
                for _ in range(FILE_SIZE // MIB):
                    f.write(bytes(MIB))
            with Process(SERVER_CORE, self.server, "-q", "-d", docs, "127.0.0.1", "0", key,
                         cert) as server:
                port = self.port_of(server)
                self.fetch(port, "none")  # so that neither is read from disk below
                return mode.figures(self.measure(server, port))

    def measure(self, server, port):
        cpu, crossed = cpu_of(server.process.pid), loopback_bytes()
        began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        self.fetch(port, "file")
        took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        if loopback_bytes() - crossed < FILE_SIZE:
            raise BenchError("the file did not come whole")
        mine = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        # Their server sends; elsewhere the client does.
        return {"bytes": FILE_SIZE, "messages": FILE_SIZE / (64 * KIB), "ns": took * SECOND,
                "cpu_ns": cpu_of(server.process.pid) - cpu, "server_cpu_ns": mine * SECOND}

    def fetch(self, port, name):
        command = ["taskset", "-c", CLIENT_CORE, self.client, "-q", "--exit-on-all-streams-close",
                   "127.0.0.1", str(port), f"https://localhost/{name}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        if done.returncode != 0:
            raise BenchError(f"{self.client}: exit status {done.returncode}: {done.stderr[-300:]}")

    @staticmethod
    def port_of(server):
        """The UDP port that the kernel gave it."""
        end = time.monotonic() + PATIENCE
        while server.process.poll() is None and time.monotonic() < end:
            links = []
            for fd in os.scandir(f"/proc/{server.process.pid}/fd"):
                try:
                    links.append(os.readlink(fd.path))
                except OSError:
                    pass
            with open("/proc/net/udp", encoding="ascii") as table:
                for line in table.readlines()[1:]:
                    words = line.split()
                    if f"socket:[{words[9]}]" in links:
                        return int(words[1].rsplit(":", 1)[1], 16)
            time.sleep(0.05)
        return server.complain("ngtcp2's server does not listen")


def all_programs():
    return [Polled("libtbquic", "speed"), OneDescriptor("one-fd", "speed"),
            Program("floor", "floor"),
            Program("zmq", "zmq", " (tools/setup bench brings libzmq; then configure again)"),
            Program("tls", "tls"), Examples()]


# ---- modes -----------------------------------------------------------------------------------------


class OneWay(Mode):
    word = "oneway"
    cpu_unit = "ns/B"

    def __init__(self, name, size, what, bulk, connections=None):
        many = connections is not None and connections > 1
        super().__init__(name, what,
                         {"--size": size, **({"--connections": connections} if many else {})})
        self.few_nodes = connections is None  # each connection of a client is a node of its own
        if many and connections >= 10000:  # ZeroMQ takes minutes until as many are up
            self.only = ("libtbquic", "tls")
        self.bulk, self.unit = bulk, "Gbit/s" if bulk else "1000/s"

    def figures(self, result):
        if result["messages"] <= 0 or result["bytes"] <= 0:
            raise BenchError("nothing arrived")
        bits, messages = result["bytes"] * 8 / result["ns"], result["messages"] / result["ns"] * 1e6
        first = {"Gbit/s": bits, "1000/s": messages} if self.bulk else {"1000/s": messages,
                                                                       "Gbit/s": bits}
        return {**first, **self.cpu(result, result["bytes"])}


class Fairness(OneWay):
    """One server to many connections, the first of which is greedy: what the slowest of the others
    gets of what each would have if all had the same."""

    only, beside = ("libtbquic",), ()

    def __init__(self, count):
        super().__init__("fairness", 4 * KIB, f"one way from a server to {count} connections, one of "
                         "them greedy: the slowest other one, to its fair share", True, count)
        self.options["--share"] = 1
        self.count, self.unit = count, "share"

    def figures(self, result):
        return {"share": result["slowest"] * self.count / max(result["messages"], 1),
                **super().figures(result)}


class Trips(Mode):
    word, unit, cpu_unit = "roundtrip", "1000/s", "us"
    few_nodes = True

    def __init__(self, name, outstanding, what):
        super().__init__(name, what, {"--size": 100, "--outstanding": outstanding})

    def figures(self, result):
        if result["messages"] <= 0:
            raise BenchError("nothing was answered")
        return {"1000/s": result["messages"] / result["ns"] * 1e6,
                "p50 us": result["p50_ns"] / US, "p99 us": result["p99_ns"] / US,
                "p99.9 us": result["p999_ns"] / US, **self.cpu(result, result["messages"] * US)}


class Handshakes(Mode):
    word, unit, cpu_unit = "handshake", "1/s", "us"
    few_nodes = True  # a few at a time

    def __init__(self, kind, what):
        super().__init__("handshake-" + kind, what, {"--kind": kind})

    def figures(self, result):
        if result["handshakes"] <= 0:
            raise BenchError("no handshake was done")
        return {"1/s": result["handshakes"] / result["ns"] * SECOND,
                **self.cpu(result, result["handshakes"] * US)}


class Overload(Handshakes):
    """The server's processor time for a dial that it refuses as it is full, to one that it accepts."""

    more_is_better = False
    only, beside = ("libtbquic",), ()

    def __init__(self):
        super().__init__("full", "processor time of a server for a dial that it refuses, to one that "
                         "it accepts")
        self.name, self.unit, self.accepted = "overload", "ratio", Handshakes("full", "")
        self.options["--limit"] = 1

    def once(self, program, seconds, _number):
        refused, accepted = (program.once(m, seconds / 2)["server CPU"]
                             for m in (self, self.accepted))
        return {"ratio": refused / accepted, "us refused": refused, "us accepted": accepted}


class Idle(Mode):
    word, unit, more_is_better = "idle", "KiB", False
    settle = 0.5  # seconds, until what comes behind a handshake has come

    def __init__(self, count):
        super().__init__(f"idle-{count}", f"resident memory of the server for each of {count:,} idle "
                         "connections", {"--count": count})
        self.count = count

    def figures(self, result):
        if result["count"] != self.count or (result["connections"] or self.count) < self.count:
            raise BenchError(f"not all of {self.count} connections are up: {result}")
        return {"KiB": result["rss"] / self.count, "s until all were up": result["ns"] / SECOND}


MODES = [
    OneWay("bulk-64k", 64 * KIB, "one way, messages of 64 KiB", True),
    OneWay("bulk-1m", MIB, "one way, messages of 1 MiB", True),
    OneWay("rate-100", 100, "one way, messages of 100 bytes", False),
    OneWay("rate-1k", KIB, "one way, messages of 1 KiB", False),
    Trips("trips-1", 1, "round trips of 100 bytes, one at a time"),
    Trips("trips-64", 64, "round trips of 100 bytes, 64 on their way"),
    Handshakes("full", "handshakes with certificates on both sides, to the first answer"),
    Handshakes("resumed", "resumed sessions, to the first answer"),
    Handshakes("early", "resumed sessions with the first message as early data"),
    Idle(1000),
    Idle(10000),
    *[OneWay(f"grow-{n}", 100, f"one way, messages of 100 bytes, connections: {n:,}", False, n)
      for n in (1, 10, 100, 1000, 10000)],
    Fairness(50),
    Overload(),
    *LOSSY_MODES,
    *START_MODES,
]


# ---- targets ---------------------------------------------------------------------------------------


class Target:
    """What libtbquic is to reach. other: compared with that program; None: as it is."""

    def __init__(self, mode, figure, relation, bound, other):
        self.mode, self.figure, self.relation, self.bound, self.other = (mode, figure, relation, bound,
                                                                         other)

    def text(self):
        figure = self.figure if isinstance(self.figure, str) else "CPU of both sides"
        return f"{self.mode}, {figure}: {self.relation} {self.bound:g}" + (
            f" of {self.other}'s" if self.other else "")

    def measured(self, entries):
        mine = values_of(entries, self.mode, "libtbquic", self.figure)
        if self.other is None:
            told = spread(mine)
            return told["median"] if told else None
        theirs = values_of(entries, self.mode, self.other, self.figure)
        told = spread(ratios(mine, theirs))
        return told["median"] if told else None

    def judge(self, entries):
        value = self.measured(entries)
        met = None if value is None else (
            value >= self.bound if self.relation == ">=" else value <= self.bound)
        return {"target": self.text(), "value": value, "met": met}


TARGETS = [
    Target("bulk-64k", "Gbit/s", ">=", 0.93, "floor"),
    Target("bulk-64k", "Gbit/s", ">=", 1, "zmq"),
    Target("bulk-1m", "Gbit/s", ">=", 0.93, "floor"),
    Target("bulk-64k", "client CPU", "<=", 1.1, "floor"),
    Target("bulk-64k", "server CPU", "<=", 1.1, "floor"),
    Target("rate-100", "1000/s", ">=", 0.5, "floor"),
    Target("rate-100", "1000/s", ">=", 2.5, "zmq"),
    Target("rate-1k", "1000/s", ">=", 0.75, "floor"),
    Target("rate-1k", "1000/s", ">=", 2, "zmq"),
    Target("trips-64", "1000/s", ">=", 0.7, "floor"),
    Target("trips-64", "1000/s", ">=", 2.5, "zmq"),
    Target("trips-1", TOTAL, "<=", 1.25, "floor"),
    Target("handshake-full", "1/s", ">=", 0.85, "floor"),
    Target("handshake-resumed", "1/s", ">=", 0.85, "floor"),
    Target("handshake-early", "1/s", ">=", 0.85, "floor"),
    Target("idle-1000", "KiB", "<=", 48, None),
    Target("idle-10000", "KiB", "<=", 48, None),
    Target("fairness", "share", ">=", 0.8, None),
    Target("overload", "ratio", "<=", 0.1, None),
    *[Target(*t) for t in (*LOSSY_TARGETS, *START_TARGETS)],
]


def values_of(entries, mode, program, figure):
    """A figure by round: None where that run failed. Several figures are added up."""
    entry = next((e for e in entries if e["name"] == mode), None)
    runs = entry["programs"].get(program, {}).get("runs", []) if entry else []
    names = (figure,) if isinstance(figure, str) else figure
    return [sum(r[n] for n in names) if r is not None else None for r in runs]


def ratios(mine, theirs):
    """Of the same round each: all that can be compared."""
    return [a / b for a, b in zip(mine, theirs) if a is not None and b]


def spread(values):
    values = [v for v in values if v is not None]
    if not values:
        return None
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def judge_floor(entries, aes):
    """Whether the run counts (None: that was not measured), and what says so."""
    floor = values_of(entries, "bulk-64k", "floor", "Gbit/s")
    examples = spread(ratios(floor, values_of(entries, "bulk-64k", "ngtcp2", "Gbit/s")))
    alone = spread(ratios(floor, aes))
    checks = []
    for told, bound, what in ((examples, FLOOR_TO_EXAMPLES, "of ngtcp2's examples"),
                              (alone, FLOOR_TO_AES, "of AES-128-GCM alone on one core")):
        checks.append({"what": f"floor's bulk is at least {bound} {what}",
                       "value": told["median"] if told else None,
                       "good": told["median"] >= bound if told else None})
    good = [c["good"] for c in checks]
    return (False if False in good else None if None in good else True), checks


# ---- telling ---------------------------------------------------------------------------------------


def number(value):
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 100 else f"{value:.3f}" \
        if value < 10 else f"{value:.2f}"


def ratio_text(told):
    if told and told["least"] == told["most"]:
        return f"{told['median']:.2f}"
    return f"{told['median']:.2f} ({told['least']:.2f}-{told['most']:.2f})" if told else "-"


def extra_columns(mode, figures):
    """What a table has beside its first figure: heads and figure names."""
    names = [n for n in figures if n != mode.unit]
    heads = [f"{n}, {mode.cpu_unit}" if n in TOTAL else n for n in names]
    return names, heads


def table(mode, entry):
    print(f"\n{mode.name}: {mode.what}; {mode.unit}")
    measured = {n: p for n, p in entry["programs"].items() if p["figures"]}
    if measured:
        names, heads = extra_columns(mode, next(iter(measured.values()))["figures"])
        rows = [["", "median", "least", "most", *("to " + o for o in mode.beside), *heads]]
        for name, p in measured.items():
            first = p["figures"][mode.unit]
            rows.append([name, *(number(first[k]) for k in ("median", "least", "most")),
                         *(ratio_text(p["to"].get(o)) for o in mode.beside),
                         *(number(p["figures"][n]["median"]) for n in names)])
        widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
        for r in rows:
            print("  " + r[0].ljust(widths[0]) + "".join("  " + c.rjust(w)
                                                       for c, w in zip(r[1:], widths[1:])))
    for name, p in entry["programs"].items():
        if p["left_out"]:
            print(f"  {name} is left out: {p['left_out']}")
        for text in p["failures"]:
            print(f"  {name} FAILED: {text}")
    sys.stdout.flush()


def tell_targets(judged):
    print("\ntargets")
    for t in judged:
        word = "not measured" if t["met"] is None else "met" if t["met"] else "missed"
        print(f"  {t['target']:52} {number(t['value']):>8}  {word}")


def tell_floor(counts, checks):
    print({True: "\nthis run counts", False: "\nthis run DOES NOT COUNT",
           None: "\nthis run does not count: not all that it takes was measured"}[counts])
    for c in checks:
        word = "not measured" if c["good"] is None else "good" if c["good"] else "NOT SO"
        print(f"  {c['what']:60} {number(c['value']):>8}  {word}")


# ---- running ---------------------------------------------------------------------------------------


def progress(text):
    print("  .. " + text, file=sys.stderr, flush=True)


def one_run(program, mode, seconds, of_it, i, where):
    """Puts a round into what there is of this program."""
    try:
        figures = mode.once(program, seconds, i)
        of_it["runs"][i] = figures
        progress(f"{where} {program.name}: {number(figures[mode.unit])} {mode.unit}")
    except Cannot as e:
        of_it["left_out"] = str(e)
        progress(f"{where} {program.name}: cannot: {e}")
    except (BenchError, OSError, KeyError, subprocess.SubprocessError) as e:
        of_it["failures"].append(f"{where}: {e!r}" if isinstance(e, KeyError) else f"{where}: {e}")
        progress(f"{where} {program.name}: FAILED: {e}")


def measure(mode, programs, runs, seconds, aes):
    """All rounds of a mode."""
    rounds, seconds = runs or mode.rounds, seconds or mode.seconds
    entry = {"name": mode.name, "what": mode.what, "unit": mode.unit,
             "more_is_better": mode.more_is_better, "cpu_unit": mode.cpu_unit, "seconds": seconds,
             "programs": {}}
    mine = [p for p in programs if (p.name in mode.only if mode.only else p.does(mode))]
    for p in mine:
        entry["programs"][p.name] = {"left_out": p.lacks() or mode.lacks(), "runs": [None] * rounds,
                                     "failures": []}

    def one_round(i):
        # At once, but not the same program everywhere: what else the machine does hits all alike.
        first = i % len(mine) if mode.at_once > 1 else 0
        for p in mine[first:] + mine[:first]:
            of_it = entry["programs"][p.name]
            if not of_it["left_out"]:
                one_run(p, mode, seconds, of_it, i, f"{mode.name}, round {i + 1} of {rounds},")
        if mode.name == "bulk-64k":
            aes.append(aes_alone(seconds))

    with ThreadPoolExecutor(mode.at_once) as rows:
        list(rows.map(one_round, range(rounds)))
    for p in entry["programs"].values():
        summarize(p, mode, entry)
    return entry


def summarize(p, mode, entry):
    good = [r for r in p["runs"] if r is not None]
    p["figures"] = {n: spread([r[n] for r in good]) for n in good[0]} if good else {}
    mine = [r[mode.unit] if r else None for r in p["runs"]]
    p["to"] = {}
    for other in mode.beside:
        theirs = [r[mode.unit] if r else None
                  for r in entry["programs"].get(other, {"runs": []})["runs"]]
        p["to"][other] = spread(ratios(mine, theirs))


def aes_alone(seconds):
    """Gbit/s of AES-128-GCM by GnuTLS on the client's core; None where that cannot be said."""
    path = os.path.join(BUILD, "bench/aes")
    try:
        done = subprocess.run(["taskset", "-c", CLIENT_CORE, path, str(min(seconds, 1))], text=True,
                              capture_output=True, check=True, timeout=PATIENCE)
        result = json.loads(done.stdout)
        rate = result["bytes"] * 8 / result["cpu_ns"]
        progress(f"AES-128-GCM alone: {number(rate)} Gbit/s")
        return rate
    except (OSError, ValueError, subprocess.SubprocessError) as e:
        progress(f"AES-128-GCM alone: {e}")
        return None


def output_of(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def about():
    """Of the machine, and of what runs on it."""
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        model = re.search(r"^model name\s*:\s*(.*)$", f.read(), re.MULTILINE)
    versions = {m: output_of("pkg-config", "--modversion", m)
                for m in ("libngtcp2", "gnutls", "nettle", "libzmq")}
    versions["libtbquic"] = output_of("git", "-C", SRC, "describe", "--always", "--dirty")
    return {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "machine": platform.machine(), "cpu": model[1] if model else None,
            "cores": os.cpu_count(), "kernel": platform.release(),
            "system": platform.freedesktop_os_release().get("PRETTY_NAME"),
            "versions": versions, "tcp": tcp(), "load": os.getloadavg()}


def arguments():
    p = argparse.ArgumentParser(prog="bench/run.py", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--runs", type=int, help="rounds of each mode")
    p.add_argument("--seconds", type=float, help="of each run")
    p.add_argument("--json", help="a file for all that was measured")
    p.add_argument("--programs", help="only these, with commas between")
    p.add_argument("--list", action="store_true", help="names the modes, and ends")
    p.add_argument("words", nargs="*", metavar="WORD", help="modes with it in their name")
    a = p.parse_args()
    if (a.runs is not None and a.runs < 1) or (a.seconds is not None and a.seconds <= 0):
        p.error("--runs and --seconds are above 0")
    named = {m.name for m in MODES}
    a.modes = [m for m in MODES if not a.words or
               any(w == m.name if w in named else w in m.name for w in a.words)]
    known = {q.name: q for q in all_programs()}
    names = a.programs.split(",") if a.programs else list(known)
    for name in names:
        if name not in known:
            p.error(f"there is no program `{name}`, but {', '.join(known)}")
    a.chosen = [known[n] for n in names]
    return a


def allow_files():
    """10,000 connections are more files than most systems let a process have, unless root asks."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, max(most, FILES)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def write_report(path, report):
    if path:
        with open(path, "w", encoding="utf-8") as f:
            json.dump(report, f, indent=1)
            f.write("\n")


def main():
    a = arguments()
    if a.list:
        for m in a.modes:
            print(f"{m.name:18} {m.what}")
        return 0
    cores = os.sched_getaffinity(0)
    if not a.modes or not {int(SERVER_CORE), int(CLIENT_CORE)} <= cores or not shutil.which("taskset"):
        print("nothing is measured: " + ("no such mode" if not a.modes else
                                         "two cores and taskset are needed"))
        return 2
    allow_files()
    report = {**about(), "runs": a.runs, "seconds": a.seconds, "modes": [], "aes Gbit/s": []}
    print(f"{report['cpu']}, {report['cores']} cores, kernel {report['kernel']}, load "
          f"{report['load'][0]:.2f}, " + ", ".join(f"{k} {v}" for k, v in report["versions"].items()))
    print(f"TCP's controller by itself: {report['tcp']}; bench/tls asks for cubic")
    if report["load"][0] > QUIET:
        print("something else is running here, which these figures will show")
    sys.stdout.flush()
    for mode in a.modes:
        entry = measure(mode, a.chosen, a.runs, a.seconds, report["aes Gbit/s"])
        report["modes"].append(entry)
        table(mode, entry)
        write_report(a.json, report)  # what there is, should the next one never end
    report["targets"] = [t.judge(report["modes"]) for t in TARGETS]
    report["counts"], report["counts_because"] = judge_floor(report["modes"], report["aes Gbit/s"])
    report["load_after"] = os.getloadavg()
    report["failed"] = any(p["failures"] for e in report["modes"] for p in e["programs"].values())
    tell_targets(report["targets"])
    tell_floor(report["counts"], report["counts_because"])
    write_report(a.json, report)
    if report["failed"]:
        print("\na program FAILED (see above)")
    return 1 if report["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
