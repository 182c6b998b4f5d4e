"""What the tests of the command line share: TAP, and tbq as a process whose lines are waited for.

Nothing here sleeps: a test waits for a line or an end, with a guard that only a hang reaches."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

TBQ = os.environ["TBQ"]
WAIT = 30 * float(os.environ.get("TIME_FACTOR", "1"))  # seconds, for what should take none
FATES = ("delivered", "undelivered", "unknown")
count = {"tests": 0, "failed": 0}


def ok(good, what, why=""):
    count["tests"] += 1
    count["failed"] += not good
    print(f"{'ok' if good else 'not ok'} {count['tests']} - {what}")
    if not good and why:
        print("# " + str(why).replace("\n", "\n# "))
    sys.stdout.flush()


def skip(what, why):
    count["tests"] += 1
    print(f"ok {count['tests']} - {what} # SKIP {why}", flush=True)


def run_all(*stories):
    """Each story gets a folder of its own. STORIES="this that": only these."""
    wanted = os.environ.get("STORIES", " ".join(s.__name__ for s in stories)).split()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as top:
        for story in (s for s in stories if s.__name__ in wanted):
            print(f"# {story.__name__}", flush=True)
            here = os.path.join(top, story.__name__)
            os.mkdir(here)
            story(here)
    print(f"1..{count['tests']}")
    sys.exit(1 if count["failed"] else 0)


def environment(more=None):
    """Without what would name a folder for the key, but for what is given."""
    env = {k: v for k, v in os.environ.items()
           if k not in ("HOME", "STATE_DIRECTORY", "XDG_STATE_HOME")}
    env.update(more or {})
    return env


def tbq(*arguments, stdin=None, env=None, text=True, wrapper=(), **more):
    """Runs it to its end: exit status, standard output, standard error."""
    done = subprocess.run([*wrapper, TBQ, *arguments], input=stdin, capture_output=True, text=text,
                          timeout=WAIT, check=False, env=env, **more)
    return done.returncode, done.stdout, done.stderr


def events(text):
    return [json.loads(line) for line in text.splitlines()]


def fates(told):
    """The number of each fate, and whether no number was told twice."""
    ids = [e["id"] for e in told if e["event"] in FATES]
    counted = {f: sum(e["event"] == f for e in told) for f in FATES}
    return counted, len(ids) == len(set(ids))


def comes_true(what, guard_s=2 * WAIT):
    """Looks again and again; how long it took, or None: only a hang reaches the guard."""
    began = time.monotonic()
    while not what():
        if time.monotonic() > began + guard_s:
            return None
        time.sleep(0.02)
    return time.monotonic() - began


def write(path, text):
    with open(path, "wb" if isinstance(text, bytes) else "w") as f:
        f.write(text)
    return path


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Process:
    """A tbq with --json; its lines are read by a thread."""

    wrapper = []
    program = [TBQ]
    flags = ["--json"]

    def __init__(self, *arguments, stdin=subprocess.DEVNULL):
        self.process = subprocess.Popen([*self.wrapper, *self.program, *arguments, *self.flags],
                                        stdin=stdin, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.lines = []
        self.err = ""
        self.over = False
        self.news = threading.Condition()
        self.threads = [threading.Thread(target=t, daemon=True) for t in (self._out, self._err)]
        for t in self.threads:
            t.start()

    def _out(self):
        for line in self.process.stdout:
            with self.news:
                self.lines.append(json.loads(line))
                self.news.notify_all()
        with self.news:
            self.over = True
            self.news.notify_all()

    def _err(self):
        for line in self.process.stderr:
            with self.news:
                self.err += line
                self.news.notify_all()

    def told(self, *names):
        with self.news:
            return [e for e in self.lines if not names or e["event"] in names]

    def wait(self, *names, many=1):
        """The event of one of these names that makes them `many`; None when it never comes."""
        read, seen, found = 0, 0, None

        def find():
            nonlocal read, seen, found
            while found is None and read < len(self.lines):  # each line is looked at once
                seen += self.lines[read]["event"] in names
                found = self.lines[read] if seen == many else None
                read += 1
            return found
        with self.news:
            self.news.wait_for(lambda: find() is not None or self.over, WAIT)
            return find()

    def log(self):
        """What it has written on standard error so far."""
        with self.news:
            return self.err

    def live(self):
        """The peers that it is connected to, as it has told."""
        up = {}
        for e in self.told("connected", "disconnected"):
            up[e["peer_id"]] = up.get(e["peer_id"], 0) + (1 if e["event"] == "connected" else -1)
        return {peer for peer, n in up.items() if n > 0}

    def signal(self, which):
        self.process.send_signal(which)

    def end(self, guard=WAIT):
        """Waits for the end; everything it said is in lines and err then."""
        status = self.process.wait(guard)
        for t in self.threads:
            t.join(WAIT)
        return status


class Server(Process):
    def __init__(self, folder, bind="127.0.0.1:0", *more, store=False):
        self.state = os.path.join(folder, "state")
        self.store = os.path.join(folder, "store")
        os.makedirs(self.store, exist_ok=True)
        super().__init__("server", "--bind", bind, "--state", self.state,
                         *(["--store", self.store] if store else []), *more)
        self.ready = self.wait("ready") or {"uri": "tbq://none", "address": "127.0.0.1:1"}
        self.uri = self.ready["uri"]
        self.port = self.ready["address"].rsplit(":", 1)[1]

    def stored(self):
        """What is there under its final name."""
        return [n for n in os.listdir(self.store) if not n.startswith(".")]

    def stop(self, how=signal.SIGTERM):
        self.signal(how)
        return self.end()
