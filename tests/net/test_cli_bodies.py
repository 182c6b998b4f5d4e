#!/usr/bin/env python3
"""tbq client and server with what is larger than a message: in parts, in little memory, and one fate
whatever ends it. TAP."""

import os
import pty
import signal
import subprocess
import sys

from cli_help import TBQ, WAIT, Process, Server, comes_true, events, ok, run_all, sha256, skip, write

MIB = 1 << 20
MOST = 64  # MiB of memory, of each program


def peak(program):
    with open(f"/proc/{program.process.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM")) / 1024


def files(server):
    """All that is in the store, and what is being written there."""
    return sorted(os.listdir(server.store))


class Pipe:
    """A client whose standard input stays open."""

    def __init__(self, uri):
        self.read, self.to = os.pipe()
        self.client = Process("client", uri, "--send", "-", stdin=self.read)
        os.close(self.read)

    def write(self, data):
        while data:
            data = data[os.write(self.to, data):]

    def close(self):
        os.close(self.to)

    def taken(self, size):
        """Waits until so many bytes are known to be taken."""
        return comes_true(lambda: any(e["taken"] >= size for e in self.client.told("progress")))


def arrives(folder):
    server = Server(folder, store=True)
    data = os.urandom(1000) * 5000
    path = write(folder + "/big", data)
    done = subprocess.run([TBQ, "client", server.uri, "--send", path, "--send", "/dev/null",
                           "--json"], capture_output=True, timeout=WAIT, check=False)
    told = [(e["event"], e["id"]) for e in events(done.stdout.decode()) if e["event"] != "progress"
            and "id" in e]
    ok(done.returncode == 0 and told == [("delivered", 1), ("delivered", 2)],
       "a file of 5 MB has one fate, and what stands behind it another", done)
    come = server.wait("message")
    ok(come["kind"] == "body" and come["size"] == len(data) and come["sha256"] == sha256(data),
       "the server tells size and hash", come)
    ok(files(server) == sorted([sha256(data), sha256(b"")]), "and stores it under that name",
       files(server))
    with open(os.path.join(server.store, sha256(data)), "rb") as f:
        ok(f.read() == data, "whole")
    done = subprocess.run([TBQ, "client", server.uri, "--send", "-"], input=data,
                          capture_output=True, timeout=WAIT, check=False)
    ok(done.returncode == 0 and b"message 1: delivered" in done.stdout and not done.stderr,
       "from standard input; where nobody looks, nothing is said of its progress", done)
    ok(server.stop() == 0, "the server ends with 0")


def little_memory(folder):
    server = Server(folder, store=True)
    pipe = Pipe(server.uri)
    for _ in range(200):
        pipe.write(bytes(MIB))
    ok(pipe.taken(200 * MIB) is not None, "200 MiB of unknown length, while its end is waited for",
       pipe.client.lines[-3:])
    peaks = peak(pipe.client), peak(server)
    what = f"the most memory of each: {peaks[0]:.0f} and {peaks[1]:.0f} MiB"
    if os.environ.get("SANITIZERS") == "yes":
        skip(what, "sanitizers keep what was freed")
    else:
        ok(max(peaks) < MOST, what)
    ok(len(files(server)) == 1 and files(server)[0].startswith("."),
       "what is not whole has no name yet", files(server))
    told = pipe.client.told("progress")
    ok(all(list(e) == ["event", "id", "taken"] for e in told)
       and [e["taken"] for e in told] == sorted(e["taken"] for e in told),
       "its progress is told, and does not go back", told[:3])
    pipe.close()
    ok(pipe.client.end() == 0 and pipe.client.lines[-1] == {"event": "delivered", "id": 1},
       "then it is delivered", pipe.client.lines[-3:])
    ok(files(server) == [server.wait("message")["sha256"]], "and has its name", files(server))
    server.stop()


def sender_ends(folder):
    server = Server(folder, store=True)
    pipe = Pipe(server.uri)
    pipe.write(bytes(3 * MIB))
    pipe.taken(2 * MIB)
    pipe.client.signal(signal.SIGTERM)
    code = pipe.client.end()
    fate = [e["event"] for e in pipe.client.lines if e["event"] in ("undelivered", "unknown")]
    ok(code == 0 and fate == ["undelivered"], "SIGTERM in the midst: not delivered, exit 0",
       (code, pipe.client.lines))
    gone = server.wait("abandoned")
    ok(gone is not None and gone["size"] <= 3 * MIB and gone["size"] > 0
       and list(gone) == ["event", "size", "from", "reason"], "the server is told, and says so", gone)
    ok(files(server) == [], "and nothing is left of it", files(server))
    pipe.close()
    short = write(folder + "/short", bytes(3 * MIB))
    client = Process("client", server.uri, "--send", short, "--send", "/dev/null")
    ok(client.end() == 0, "the next one finds it as ever", client.lines)
    server.stop()


def server_restarts(folder):
    server = Server(folder, store=True)
    pipe = Pipe(server.uri)
    pipe.write(bytes(3 * MIB))
    pipe.taken(2 * MIB)
    server.stop(signal.SIGKILL)
    left = files(server)
    ok(len(left) == 1 and left[0].startswith(".body."), "a killed server leaves what it had", left)
    server = Server(folder, "127.0.0.1:" + server.port, store=True)
    ok(files(server) == [], "the next one removes it", files(server))
    pipe.write(bytes(65536))
    fate = pipe.client.wait("undelivered", "unknown", "delivered")
    ok(fate is not None and fate["event"] == "undelivered",
       "the body does not go on in the middle: not delivered", pipe.client.lines)
    pipe.close()
    ok(pipe.client.end() == 1, "exit 1")
    ok(files(server) == [], "nothing of it is there")
    server.stop()


def not_stored(folder):
    server = Server(folder, store=True)
    os.rmdir(server.store)
    big = write(folder + "/big", bytes(30 * MIB))
    client = Process("client", server.uri, "--send", big)
    code = client.end()
    ok(code == 1 and client.told("undelivered") and not client.told("delivered"),
       "what cannot be stored is not delivered", client.lines)
    ok(server.wait("error") is not None, "and the server says why", server.lines)
    server.stop()


def stops(folder):
    server = Server(folder, store=True)
    pipe = Pipe(server.uri)
    pipe.write(bytes(3 * MIB))
    pipe.taken(2 * MIB)
    ok(server.stop() == 0 and files(server) == [],
       "a server that is stopped in the midst leaves nothing of it", files(server))
    pipe.client.signal(signal.SIGTERM)
    pipe.close()
    ok(pipe.client.end() == 0 and len(pipe.client.told("undelivered")) == 1,
       "its client says: not delivered", pipe.client.lines)


def looked_at(folder):
    server = Server(folder)
    read, to = os.pipe()
    terminal, its = pty.openpty()
    with subprocess.Popen([TBQ, "client", server.uri, "--send", "-"], stdin=read,
                          stdout=subprocess.PIPE, stderr=its, text=True) as client:
        os.close(read)
        os.close(its)
        data = bytes(3 * MIB)
        while data:
            data = data[os.write(to, data):]
        shown = b""
        while b"3.0 MiB" not in shown:  # a hang ends with the runner's guard
            shown += os.read(terminal, 1000)
        os.close(to)
        out = client.stdout.read()
        ok(client.wait(WAIT) == 0 and "message 1: delivered" in out and "MiB" not in out,
           "people at a terminal see how far it is, on standard error", (shown, out))
    os.close(terminal)
    server.stop()


if not sys.platform.startswith("linux"):
    print("1..0 # SKIP /proc is Linux's")
    sys.exit(0)
run_all(arrives, little_memory, sender_ends, server_restarts, not_stored, stops,
        looked_at)
