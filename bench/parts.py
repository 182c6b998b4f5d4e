"""What the files of bench/run.py share: errors, processes, and what a mode is. See there."""

import json
import os
import queue
import subprocess
import threading
import time

SRC = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("builddir", os.path.join(SRC, "build"))
SERVER_CORE, CLIENT_CORE = "0", "1"
KIB, MIB = 1 << 10, 1 << 20
US, SECOND = 1e3, 1e9  # nanoseconds
PATIENCE = 60  # seconds beyond what a run should take


class BenchError(Exception):
    """A program failed."""


class Cannot(Exception):
    """A program has no such mode, and says so."""


# ---- processes -------------------------------------------------------------------------------------


class Process:
    """One side, on a core of its own if one is named; what it prints is read by threads."""

    def __init__(self, core, *command, within=(), **more):
        """within: what comes before the command, to run it somewhere else."""
        self.name = os.path.basename(command[0])
        pinned = ["taskset", "-c", core] if core is not None else []
        self.process = subprocess.Popen([*pinned, *within, *command], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        errors="replace", **more)
        self.events, self.err = queue.Queue(), []
        self.threads = [threading.Thread(target=self._read, args=a, daemon=True)
                        for a in ((self.process.stdout, self.events.put, None),
                                  (self.process.stderr, self.err.append, ""))]
        for t in self.threads:
            t.start()

    @staticmethod
    def _read(stream, put, last):
        for line in stream:
            put(line)
        put(last)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for t in self.threads:
            t.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            try:
                stream.close()
            except BrokenPipeError:
                pass

    def complain(self, what):
        """It did not do what it should: why, as far as it told."""
        try:
            status = self.process.wait(1)
        except subprocess.TimeoutExpired:
            status = None
        for t in self.threads if status is not None else []:
            t.join()
        text = "".join(self.err).strip()
        if status == 2:
            raise Cannot(text or "it says that it cannot")
        raise BenchError(f"{what}; exit status {status}: {text[-500:]}")

    def next_line(self, patience, other):
        """None: there is none, or none within that time, or the other side is no more."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            try:
                return self.events.get(timeout=0.5)
            except queue.Empty:
                if other is not None and other.process.poll() is not None:
                    other.complain(f"{other.name} ended too early")
        return None

    def need(self, name, patience, other=None):
        """The event of that name, which must be the next; `other` is the side that it depends on."""
        line = self.next_line(patience, other)
        text = f"{self.name}: no `{name}`" + (f", but {line!r}" if line else "")
        try:
            event = json.loads(line) if line is not None else {}
        except ValueError:
            event = {}
        if event.get("event") != name:
            self.complain(text)
        return event

    def mark(self):
        self.process.stdin.write("mark\n")
        self.process.stdin.flush()
        return self.need("mark", PATIENCE)

    def end(self, last=None):
        """Its standard input ends, and it should."""
        event = None
        self.process.stdin.close()
        if last is not None:
            event = self.need(last, PATIENCE)
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            status = "none"
        if status != 0:
            self.complain(f"{self.name} did not end as it should")
        return event


# ---- modes -----------------------------------------------------------------------------------------


class Mode:
    """Figures are {name: number}; the first one is what the table is about."""

    word = ""  # of the programs
    unit, more_is_better = "", True
    rounds, seconds = 5, 2  # where nothing else is asked for
    at_once = 1  # rounds
    beside = ("floor", "zmq", "tls")  # ratios to them are told
    only = None  # the programs that have it; None: they know
    few_nodes = False  # of the library in each process
    cpu_unit = ""

    def __init__(self, name, what, options):
        self.name, self.what, self.options = name, what, options

    def lacks(self):
        """Why it cannot be measured here, or None."""
        return None

    def once(self, program, seconds, _number):
        """The figures of a program's run in the round of that number, 0 for the first."""
        return program.once(self, seconds)

    def figures(self, result):
        raise NotImplementedError

    def cpu(self, result, per):
        """CPU time of both sides, each in the table's unit."""
        return {"client CPU": result["cpu_ns"] / per, "server CPU": result["server_cpu_ns"] / per}
