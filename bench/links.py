#!/usr/bin/env python3
"""Measures libtbquic over emulated links (tests/net/lab.py), as root. `make bench-links` runs it.

    bench/links.py [--runs N] [--json FILE] [--list] [SCENARIO...]

Runs the scenarios (all, or those whose name has one of the words in it), N times each, 20 unless
told otherwise or unless the scenario says less; prints a table of medians, and with --json writes
all values. A scenario that this build cannot do is named with what it lacks.

A scenario is a class below: the links, what it needs, and run(), which does it once in a fresh lab
and answers {what was measured: number}. Programs under test are `tbq` and bench/links_peer; a word
that the latter learns (`links_peer can`) makes the scenarios run that need it.

Exit status: 0; 1 when a run failed; 2 when nothing can be run.
"""

import hashlib
import json
import os
import platform
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

SRC = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.setdefault("builddir", os.path.join(SRC, "build"))
os.environ.setdefault("TBQ", os.path.join(BUILD, "cli/tbq"))
os.environ.setdefault("TIME_FACTOR", "20")  # only hangs reach it
sys.path.insert(0, os.path.join(SRC, "tests/net"))
import cli_help  # noqa: E402
from lab import WITH_US, Lab, LabError, missing  # noqa: E402

PEER = os.path.join(BUILD, "bench/links_peer")
KIB, MIB = 1 << 10, 1 << 20


class BenchError(Exception):
    pass


# ---- programs --------------------------------------------------------------------------------------


class Program(cli_help.Process):
    """A process of a host: of tbq, or of the peer program, which takes orders."""

    def __init__(self, host, *arguments, stdin=subprocess.DEVNULL):
        self.wrapper = [*WITH_US, *host.enter]
        self.most = 0
        super().__init__(*arguments, stdin=stdin)
        host.adopt(self.process)

    def need(self, *names, many=1):
        event = self.wait(*names, many=many)
        if event is None:
            raise BenchError(f"no `{' or '.join(names)}`, but: {self.log()[-300:]} {self.lines[-3:]}")
        return event

    def peak(self):
        """The most memory that it has had, in MiB; of one that has ended, when it was asked last."""
        if self.process.poll() is None:
            self.most = self.memory("VmHWM") or self.most
        return self.most

    def memory(self, which="VmRSS"):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return next((int(line.split()[1]) for line in f if line.startswith(which)), 0) / KIB

    def kill(self):
        self.signal(signal.SIGKILL)
        self.end()


class Peer(Program):
    program = [PEER]
    flags = []

    def __init__(self, host, *arguments):
        super().__init__(host, *arguments, stdin=subprocess.PIPE)
        self.ready = self.need("ready")
        self.asked = {}

    def order(self, line, answer=None):
        """The answer to this order, when there is one."""
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        if answer is not None:
            self.asked[answer] = self.asked.get(answer, 0) + 1
            return self.need(answer, many=self.asked[answer])
        return None


def lines_file(folder, size, many):
    """A file of that many different lines of `size` bytes each, and the digests of them."""
    path = os.path.join(folder, "lines")
    random.seed(size)
    digests = set()
    with open(path, "wb") as f:
        for i in range(many):
            line = f"{i} ".encode() + random.randbytes(size // 2).hex().encode()
            line = line[:size]
            digests.add(hashlib.sha256(line).hexdigest())
            f.write(line + b"\n")
    return path, digests


def stop(*programs):
    for p in programs:
        if p.process.poll() is None:
            p.kill()


# ---- scenarios -------------------------------------------------------------------------------------


class Scenario:
    name = ""
    what = ""
    links = [[]]  # commands for each path, see tests/net/wire.c
    runs = None  # at most so many, where one takes long
    needs = None  # one of the words of `links_peer can`

    def lacks(self, words):
        """What the build has not got, or None."""
        return None if self.needs is None or self.needs in words else f"`{self.needs}`"

    def run(self, lab, folder):
        raise NotImplementedError

    def once(self):
        with tempfile.TemporaryDirectory(prefix="tbquic-bench-") as folder, \
             Lab(len(self.links)) as lab:
            for path, commands in zip(lab.paths, self.links):
                path.set(*commands)
            result = self.run(lab, folder)
            for path in lab.paths:
                slow = sum(way["missed"] + way["unsent"] for way in path.counters().values())
                if slow:
                    raise BenchError(f"the link itself was too slow for {slow} frames")
            return result


def server_of(lab, folder, *more, path=0):
    server = Program(lab.right, "server", "--bind", f"{lab.right.ip4[path]}:0", "--state",
                     os.path.join(folder, "state"), *more)
    return server, server.need("ready")["uri"]


class OnePath(Scenario):
    name = "one-path"
    what = "tbq client --send over 50 Mbit/s, round trip 20 ms, queue 256 KiB: 32 MiB, lines of 64 KiB"
    links = [["delay 10", "rate 50mbit", "queue 256k"]]
    size, many = 64 * KIB, 512

    def run(self, lab, folder):
        path, _ = lines_file(folder, self.size, self.many)
        server, uri = server_of(lab, folder)
        client = Program(lab.left, "client", uri, "--lines", "--send", path)
        client.need("connected")
        began, before = time.monotonic(), lab.paths[0].counters()
        client.need("delivered", many=self.many)
        took, after = time.monotonic() - began, lab.paths[0].counters()
        payload = self.size * self.many
        stop(client, server)
        there, back = ({k: after[d][k] - before[d][k] for k in after[d]} for d in ("ab", "ba"))
        return {"payload Mbit/s": payload * 8 / took / 1e6,
                "dropped by the queue, % of packets": 100 * there["queue"] / there["in"],
                "bytes there, % of payload": 100 * there["in_bytes"] / payload,
                "bytes back, % of payload": 100 * back["in_bytes"] / payload,
                "packets back, % of those there": 100 * back["in"] / there["in"]}


class Acknowledgements(OnePath):
    name = "acks"
    what = "what comes back for messages of 1 KiB: 20,000 over 50 Mbit/s, round trip 20 ms"
    size, many = KIB, 20000


class FirstAnswer(Scenario):
    """By `tbq client --count 1`, from its start to its pong; the same without the delay is what the
    machine itself takes, and is subtracted. The quickest of some tries counts for both: what a
    busy machine adds is always more than nothing."""

    name = "first-answer-full"
    what = "first answered message, full handshake, at a round trip of 100 ms"
    rtt, tries = 0.1, 5
    server_options = ()

    def options(self, folder):
        """What makes the client begin as this scenario wants it."""
        return []

    def answer(self, lab, uri, folder):
        began = time.monotonic()
        client = Program(lab.left, "client", uri, "--count", "1", *self.options(folder))
        client.need("pong")
        took = time.monotonic() - began
        client.end()
        return took

    def run(self, lab, folder):
        server, uri = server_of(lab, folder, *self.server_options)
        self.answer(lab, uri, folder)  # both programs are in memory, and have met
        near = min(self.answer(lab, uri, folder) for _ in range(self.tries))
        lab.paths[0].set(f"delay {self.rtt * 500}")
        far = min(self.answer(lab, uri, folder) for _ in range(self.tries))
        stop(server)
        return {"round trips": (far - near) / self.rtt, "without delay, ms": near * 1000}


class FirstAnswerAgain(FirstAnswer):
    """The client keeps its state, so that it knows the server when it comes again."""

    name = "first-answer-resumed"
    what = "the same by a client that has been there before: a resumed session"
    needs = "resume"

    def options(self, folder):
        return ["--state", os.path.join(folder, "client")]


class FirstAnswerEarly(FirstAnswerAgain):
    name = "first-answer-0rtt"
    what = "the same with 0-RTT"
    needs = "early"
    server_options = ("--early",)

    def options(self, folder):
        return [*super().options(folder), "--early"]


class Rejoin(Scenario):
    name = "rejoin"
    what = "1,000 clients leave and rejoin 10 times: resident memory of the server"
    many, rounds = 1000, 10

    def run(self, lab, folder):
        server = Peer(lab.right, "receive", "--bind", lab.right.ip4[0], "--peers", str(self.many * 2))
        crowd = Peer(lab.left, "crowd", server.ready["uri"], str(self.many))
        empty, took, joined = server.memory(), [], []
        for _ in range(self.rounds + 1):
            took.append(crowd.order("join", "joined")["ns"] / 1e9)
            joined.append(server.memory())
            crowd.order("leave", "left")
        left = server.memory()
        stop(crowd, server)
        return {"MiB without clients": empty, "MiB with all, first time": joined[0],
                "MiB with all, after 10 rejoins": joined[-1], "MiB when all have left": left,
                "KiB a client, first time": (joined[0] - empty) * KIB / self.many,
                "growth by 10 rejoins, %": 100 * (joined[-1] / joined[0] - 1),
                "s for all to join": statistics.median(took)}


class Killed(Scenario):
    """The link is a black hole, three times, each until the client has noticed."""

    links = [["delay 10"]]
    runs = 1  # most of it is waiting
    kills = 3

    def file(self, folder):
        """What to send, how many messages that is, and the digests that must arrive."""
        raise NotImplementedError

    def progress(self, client, server):
        """How much has arrived: 0..1."""
        raise NotImplementedError

    def look_at(self, client):
        """Whether it has said what it should; before it ends."""

    def wait_for(self, share, client, server):
        while self.progress(client, server) < share:
            if client.process.poll() is not None:
                raise BenchError(f"the client has ended: {client.log()[-300:]}")
            time.sleep(0.02)

    def run(self, lab, folder):
        arguments, many, digests = self.file(folder)
        self.store = os.path.join(folder, "store")
        os.mkdir(self.store)
        server, uri = server_of(lab, folder, "--store", self.store)
        began = time.monotonic()
        client = Program(lab.left, "client", uri, *arguments)
        client.need("connected")
        noticed, away = [], 0
        for i in range(self.kills):
            self.wait_for((i + 1) / (self.kills + 1), client, server)
            lab.paths[0].set("down")
            cut = time.monotonic()
            client.need("disconnected", many=i + 1)
            noticed.append(time.monotonic() - cut)
            lab.paths[0].set("up")
            client.need("connected", many=i + 2)
            away += time.monotonic() - cut
        while len(client.told("delivered")) < many and client.process.poll() is None:
            client.peak()
            time.sleep(0.02)
        client.need("delivered", many=many)
        took = time.monotonic() - began
        self.look_at(client)
        peaks = client.peak(), server.peak()
        stored = {n for n in os.listdir(self.store) if not n.startswith(".")}
        stop(client, server)
        if stored != digests or not self.hashes_are_right():
            raise BenchError("what was stored is not what was sent")
        return {"s while connected": took - away,
                "s until a kill is noticed": statistics.median(noticed),
                "peak of the client, MiB": peaks[0], "peak of the server, MiB": peaks[1]}

    def hashes_are_right(self):
        for name in os.listdir(self.store):
            with open(os.path.join(self.store, name), "rb") as f:
                if hashlib.file_digest(f, "sha256").hexdigest() != name:
                    return False
        return True


class KilledLines(Killed):
    name = "killed-lines"
    what = "64 MiB by tbq client --lines --send, 256 KiB each, the connection killed three times"
    size, many = 256 * KIB, 256

    def file(self, folder):
        path, digests = lines_file(folder, self.size, self.many)
        return ["--lines", "--send", path], self.many, digests

    def progress(self, client, server):
        return len(client.told("delivered")) / self.many


class KilledFile(Killed):
    name = "killed-file"
    what = "2 GiB by tbq client --send, the connection killed three times"
    needs = "body"
    size = 2 << 30

    def file(self, folder):
        path, digest = os.path.join(folder, "file"), hashlib.sha256()
        random.seed(1)
        with open(path, "wb") as f:
            for _ in range(self.size // MIB):
                block = random.randbytes(MIB)
                digest.update(block)
                f.write(block)
        return ["--send", path], 1, {digest.hexdigest()}

    def look_at(self, client):
        told = [e["taken"] for e in client.told("progress")]
        if len(told) < 3 or told != sorted(told):
            raise BenchError(f"its progress was not told: {told}")

    def progress(self, client, server):
        """Of what is being written: the store's file has a dot in front then."""
        sizes = [os.path.getsize(os.path.join(self.store, n)) for n in os.listdir(self.store)]
        return max(sizes, default=0) / self.size


class TwoPaths(Scenario):
    """Full speed first; then the path that carries more becomes a black hole."""

    links = [["delay 10", "rate 50mbit", "queue 256k"], ["delay 20", "rate 50mbit", "queue 256k"]]
    what = "two paths of 50 Mbit/s, round trips 20 and 40 ms, messages of 8 KiB; one becomes a black hole"
    size, warm, measured, after = 8 * KIB, 2, 4, 3  # bytes, seconds
    options, both = [], []  # of the sender, and of both

    def __init__(self, mode):
        self.needs, self.name = mode, f"two-paths-{mode}"

    def run(self, lab, folder):
        receiver = Peer(lab.right, "receive", "--bind", "0.0.0.0", *self.both)
        pin, port = receiver.ready["uri"].split("@")[0], receiver.ready["uri"].rsplit(":", 1)[1]
        sender = Peer(lab.left, "send", *[f"{pin}@{a}:{port}" for a in lab.right.ip4], "--mode",
                      self.needs, "--size", str(self.size), *self.options, *self.both)
        sender.need("connected")
        sender.order("go")
        time.sleep(self.warm)
        receiver.order("mark", "interval")
        before = [p.counters()["ab"]["out_bytes"] for p in lab.paths]
        time.sleep(self.measured)
        full = receiver.order("mark", "interval")
        carried = [p.counters()["ab"]["out_bytes"] - b for p, b in zip(lab.paths, before)]
        lab.paths[carried.index(max(carried))].set("down")
        silence = self.longest_gap(receiver)
        sender.order("stop")
        sender.end()
        last = receiver.order("mark", "interval")
        fates = sender.told("done")[0]
        for surprise in receiver.told("surprise"):
            print(f"  {surprise}")
        stop(receiver)
        return {"payload Mbit/s": full["bytes"] * 8e3 / full["ns"],
                "on the busier path, %": 100 * max(carried) / sum(carried),
                "silence, ms": silence, "messages lost": fates["sent"] - last["in_all"],
                "of unknown fate": fates["unknown"], "out of order": last["out_of_order"]}

    def longest_gap(self, receiver):
        """In ms; until messages come again, and some seconds at least."""
        gap, end = 0, time.monotonic() + self.after
        while True:
            time.sleep(0.25)
            some = receiver.order("mark", "interval")
            gap = max(gap, some["gap_ns"] / 1e6)
            if time.monotonic() > end and some["messages"] > 0:
                return gap


class Critical(TwoPaths):
    """Small messages every 5 ms, over every path, beside bulk over one."""

    options = ["--critical", "200"]

    def __init__(self):
        super().__init__("redundant")
        self.what = "the same, and beside them 200 messages a second in the critical lane: their silence"


class Redial(TwoPaths):
    """What a library without paths of its own does: one connection, and another when it is lost."""

    both = ["--ping", "250", "--idle", "1000"]

    def __init__(self):
        super().__init__("redial")
        self.what = "the same, by dialling again: pings every 250 ms, lost after 1,000 ms"


SCENARIOS = [OnePath(), Acknowledgements(), FirstAnswer(), FirstAnswerAgain(), FirstAnswerEarly(),
             Rejoin(), KilledLines(), KilledFile(), TwoPaths("failover"), TwoPaths("aggregate"),
             Critical(), Redial()]


# ---- running and telling ---------------------------------------------------------------------------


def measure(scenario, runs):
    """All values of all runs, and what went wrong."""
    values, failures = {}, []
    for i in range(min(runs, scenario.runs or runs)):
        try:
            for key, value in scenario.once().items():
                values.setdefault(key, []).append(value)
        except (BenchError, LabError, subprocess.TimeoutExpired) as e:
            failures.append(f"run {i + 1}: {e}")
    return values, failures


def table(scenario, values):
    print(f"{'':40} {'median':>10} {'least':>10} {'most':>10} {'runs':>5}")
    for key, all_of_it in values.items():
        print(f"  {key:38} {statistics.median(all_of_it):10.2f} {min(all_of_it):10.2f}"
              f" {max(all_of_it):10.2f} {len(all_of_it):5}")


def arguments(words):
    runs, path, only, listing = 20, None, [], False
    words = list(words)
    while words:
        word = words.pop(0)
        if word == "--runs" and words and words[0].isdigit() and int(words[0]) > 0:
            runs = int(words.pop(0))
        elif word == "--json" and words:
            path = words.pop(0)
        elif word == "--list":
            listing = True
        elif word.startswith("-"):
            sys.exit(__doc__)
        else:
            only.append(word)
    return runs, path, [s for s in SCENARIOS if not only or any(w in s.name for w in only)], listing


def main():
    runs, path, chosen, listing = arguments(sys.argv[1:])
    if listing:
        for s in chosen:
            print(f"{s.name:22} {s.what}")
        return 0
    reason = missing() or (None if os.access(PEER, os.X_OK) else f"there is no {PEER}")
    if reason or not chosen:
        print(f"nothing is measured: {reason or 'no such scenario'}")
        return 2
    can = json.loads(subprocess.run([PEER, "can"], capture_output=True, check=True).stdout)["words"]
    report = {"kernel": platform.release(), "cores": os.cpu_count(), "load": os.getloadavg()[0],
              "scenarios": []}
    failed = False
    for s in chosen:
        print(f"\n{s.name}: {s.what}", flush=True)
        entry = {"name": s.name, "what": s.what, "lacks": s.lacks(can)}
        if entry["lacks"]:
            print(f"  not measured: this build has no {entry['lacks']}")
        else:
            values, failures = measure(s, runs)
            entry["values"], entry["failures"] = values, failures
            entry["medians"] = {k: statistics.median(v) for k, v in values.items()}
            table(s, values)
            for text in failures:
                print(f"  failed: {text}")
            failed = failed or bool(failures)
        report["scenarios"].append(entry)
    if path:
        with open(path, "w", encoding="utf-8") as f:
            json.dump(report, f, indent=1)
            f.write("\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
