#!/usr/bin/env python3
"""tbq as real processes on loopback: what its users are promised. TAP on standard output."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading

TBQ = os.environ["TBQ"]
WAIT = 30 * float(os.environ.get("TIME_FACTOR", "1"))  # seconds, for what should take none
tests = failed = 0


def ok(good, what, why=""):
    global tests, failed
    tests += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {tests} - {what}")
    if not good and why:
        print("# " + str(why).replace("\n", "\n# "))
    sys.stdout.flush()


class Server:
    """A `tbq server --json`; its lines are read by a thread, and waited for by their event."""

    def __init__(self, folder, bind="127.0.0.1:0", *more):
        store = os.path.join(folder, "store")
        os.makedirs(store, exist_ok=True)
        self.store = store
        self.process = subprocess.Popen(
            [TBQ, "server", "--bind", bind, "--state", os.path.join(folder, "state"),
             "--store", store, "--json", *more],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.lines = []
        self.news = threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()
        self.ready = self.wait("ready")
        self.uri = self.ready["uri"]

    def read(self):
        for line in self.process.stdout:
            with self.news:
                self.lines.append(json.loads(line))
                self.news.notify_all()

    def wait(self, event):
        def find():
            return next((x for x in self.lines if x["event"] == event), None)
        with self.news:
            self.news.wait_for(find, WAIT)
            return find()

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(WAIT)


def tbq(*arguments, stdin=None):
    done = subprocess.run([TBQ, *arguments], input=stdin, capture_output=True, text=True,
                          timeout=WAIT, check=False)
    return done.returncode, done.stdout, done.stderr


def events(text):
    return [json.loads(line) for line in text.splitlines()]


def talking(folder):
    server = Server(folder)
    ok(list(server.ready)[:1] == ["event"] and server.ready["trust"] == "open",
       "the ready line tells event first, and the trust policy", server.ready)
    code, out, err = tbq("client", server.uri, "--count", "3", "--json")
    pongs = [e for e in events(out) if e["event"] == "pong"]
    ok(code == 0 and len(pongs) == 3 and all(e["rtt_ms"] > 0 for e in pongs), "three pings", out + err)

    payload = os.urandom(300000)
    path = os.path.join(folder, "file")
    with open(path, "wb") as f:
        f.write(payload)
    code, out, err = tbq("client", server.uri, "--send", path, "--json")
    name = hashlib.sha256(payload).hexdigest()
    ok(code == 0 and {"event": "delivered", "id": 1} in events(out), "a file is delivered", out + err)
    with open(os.path.join(server.store, name), "rb") as f:
        ok(f.read() == payload, "and stored under its hash")
    told = server.wait("message") or {}
    ok(told.get("sha256") == name and told.get("size") == 300000 and told.get("kind") == "transition",
       "and told by the server", told)

    wrong = "a" + server.uri[len("tbq://") + 1:] if server.uri[6] != "a" else "b" + server.uri[7:]
    code, out, err = tbq("client", "tbq://" + wrong, "--timeout", "20000", "--json")
    errors = [e for e in events(out) if e["event"] == "error"]
    ok(code == 1 and errors and "key" in errors[0]["text"], "a wrong pin is refused by name", out + err)

    port = server.ready["address"].rsplit(":", 1)[1]
    code, out, err = tbq("server", "--bind", f"127.0.0.1:{port}", "--state", folder + "/other")
    ok(code == 2 and port in err, "a port in use is named, exit 2", err)
    code, out, err = tbq("server", "--bind", "127.0.0.1:0", "--state", folder + "/state")
    ok(code == 2 and "node.key" in err, "a key in use is named, exit 2", err)
    ok(server.stop() == 0, "SIGTERM ends the server with 0")


def usage(folder):
    ok(tbq("client", "nonsense")[0] == 2, "an address that is none: exit 2")
    ok(tbq("server", "--no-such-option")[0] == 2, "an unknown option: exit 2")
    ok(tbq("client", "--count", "0")[0] == 2, "a count of 0: exit 2")
    ok(tbq("nothing")[0] == 2 and tbq("--help")[0] == 0 and tbq("--version")[0] == 0,
       "unknown command: 2; --help and --version: 0")
    code, out, _ = tbq("client", "127.0.0.1:1", "--timeout", "300", "--json")
    ok(code == 1 and events(out)[-1]["event"] == "error", "nobody there: exit 1, and an error", out)
    state = os.path.join(folder, "keys")
    code, made, _ = tbq("keygen", "--state", state)
    ok(code == 0 and len(made.strip()) == 52, "keygen tells the peer id", made)
    ok(os.stat(state + "/node.key").st_mode & 0o777 == 0o600, "the key is nobody else's to read")
    ok(tbq("keygen", "--state", state)[0] == 2, "keygen never overwrites")
    ok(tbq("id", "--state", state)[1] == made, "id tells the same")
    os.chmod(state + "/node.key", 0o644)
    code, _, err = tbq("id", "--state", state)
    ok(code == 2 and "chmod 600" in err, "a key that others may read is refused, and what to do", err)


def lists(folder):
    mine = os.path.join(folder, "mine")
    _, peer, _ = tbq("keygen", "--state", mine)
    deny = os.path.join(folder, "deny")
    with open(deny, "w", encoding="utf-8") as f:
        f.write("# nobody of these\n" + peer)
    server = Server(os.path.join(folder, "s"), "127.0.0.1:0", "--deny", deny)
    code, out, err = tbq("client", server.uri, "--state", mine, "--json", "--timeout", "20000")
    ok(code == 1 and "deny list" in out, "who is on the deny list is told so", out + err)
    ok(tbq("client", server.uri)[0] == 0, "others are not concerned")
    server.stop()
    with open(deny, "w", encoding="utf-8") as f:
        f.write("not a peer id\n")
    code, _, err = tbq("server", "--bind", "127.0.0.1:0", "--state", folder + "/t", "--deny", deny)
    ok(code == 2 and deny in err and "1" in err, "a bad list: file and line, exit 2", err)


def killed(folder):
    """kill -9 under a stream: each message has one fate, and delivered means in the journal."""
    server = Server(folder)
    port = server.ready["address"].rsplit(":", 1)[1]
    # Twice what the receive window holds: when the server dies, many were not received yet.
    lines = [f"line {i} of a stream ".ljust(2000, ".") for i in range(3000)]
    path = os.path.join(folder, "lines")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")
    client = subprocess.Popen([TBQ, "client", server.uri, "--lines", "--send", path, "--json"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    fates = {}
    twice = 0
    for line in client.stdout:
        e = json.loads(line)
        if e["event"] in ("delivered", "undelivered", "unknown"):
            twice += e["id"] in fates
            fates[e["id"]] = e["event"]
            if len(fates) == 100 and server.process.poll() is None:
                server.stop(signal.SIGKILL)
                server = Server(folder, f"127.0.0.1:{port}")
    client.wait(WAIT)
    count = {f: list(fates.values()).count(f) for f in ("delivered", "undelivered", "unknown")}
    ok(len(fates) == len(lines) and twice == 0, f"every message has one fate: {count}",
       client.stderr.read())
    journal = set(os.listdir(server.store))
    missing = [i for i, f in fates.items() if f == "delivered"
               and hashlib.sha256(lines[i - 1].encode()).hexdigest() not in journal]
    ok(not missing, "all that was told delivered is in the journal", missing[:5])
    ok(fates.get(len(lines)) == "delivered", "after the restart the rest went on", count)
    ok(server.stop() == 0, "the restarted server ends with 0")


with tempfile.TemporaryDirectory() as top:
    for story in (talking, usage, lists, killed):
        here = os.path.join(top, story.__name__)
        os.mkdir(here)
        story(here)
print(f"1..{tests}")
sys.exit(1 if failed else 0)
