#!/usr/bin/env python3
"""tbq server: what it tells, whom it lets in, and that stored comes before delivered. TAP."""

import json
import os
import shutil
import signal
import socket
import subprocess

from cli_help import (TBQ, WAIT, Server, environment, events, ok, run_all, sha256, skip, tbq,
                      write)


def two_terminals(folder):
    what = "tbq server and tbq client without arguments talk to each other"
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.0.0.1", 8443))
    except OSError as e:
        skip(what, f"port 8443 is not free: {e}")
        return
    with subprocess.Popen([TBQ, "server"], stdout=subprocess.PIPE, text=True,
                          env=environment({"HOME": folder})) as server:
        ready = server.stdout.readline()
        code, out, err = tbq("client", env=environment())
        ok(code == 0 and "127.0.0.1:8443" in ready and "trust open" in ready and "pong after" in out,
           what, ready + out + err)
        server.terminate()
        ok(server.wait(WAIT) == 0, "and the server ends with 0")


def telling(folder):
    server = Server(folder, store=True)
    ok(list(server.ready) == ["event", "peer_id", "address", "uri", "trust"]
       and server.ready["uri"] == f"tbq://{server.ready['peer_id']}@{server.ready['address']}"
       and server.ready["trust"] == "open", "the ready line", server.ready)
    payload = os.urandom(300000)
    path = write(os.path.join(folder, "file"), payload)
    mine = folder + "/mine"
    peer = tbq("keygen", "--state", mine)[1].strip()
    code, out, err = tbq("client", server.uri, "--state", mine, "--send", path, "--json")
    ok(code == 0 and {"event": "delivered", "id": 1} in events(out), "a file is delivered", out + err)
    name = sha256(payload)
    ok(server.stored() == [name] and os.listdir(server.store) == [name],
       "and is alone in the store, under its hash", os.listdir(server.store))
    with open(os.path.join(server.store, name), "rb") as f:
        ok(f.read() == payload, "whole")
    ok(server.wait("message") == {"event": "message", "kind": "transition", "size": 300000,
                                  "from": peer, "sha256": name}, "the message line", server.lines)
    ok(list(server.wait("connected")) == ["event", "peer_id", "address"], "the connected line")
    gone = server.wait("disconnected") or {}
    ok(gone.get("peer_id") == peer and list(gone) == ["event", "peer_id", "reason"],
       "the client said goodbye: nobody waits for a time-out", gone)
    tbq("client", server.uri, "--send", path, "--json")
    ok(server.stored() == [name], "the same bytes again are the same file")
    code, _, err = tbq("server", "--bind", f"127.0.0.1:{server.port}", "--state", folder + "/other")
    ok(code == 2 and server.port in err, "a port in use is named, exit 2", err)
    ok(server.stop(signal.SIGINT) == 0, "SIGINT ends it with 0")
    code, out, err = tbq("client", server.uri, "--timeout", "300")
    ok(code == 1, "and then nobody is there", out + err)


def lists(folder):
    mine = os.path.join(folder, "mine")
    _, peer, _ = tbq("keygen", "--state", mine)
    path = write(os.path.join(folder, "list"), "# these\n\n" + peer)
    server = Server(folder + "/deny", "127.0.0.1:0", "--deny", path)
    code, out, err = tbq("client", server.uri, "--state", mine, "--json")
    ok(code == 1 and "deny list" in events(out)[-1]["text"], "who is on the deny list is told so",
       out + err)
    ok(tbq("client", server.uri)[0] == 0, "others are not concerned")
    server.stop()
    server = Server(folder + "/allow", "127.0.0.1:0", "--trust", "allow:" + path)
    ok(server.ready["trust"] == "allow", "the ready line tells of an allow list", server.ready)
    ok(tbq("client", server.uri, "--state", mine)[0] == 0, "who is on it is let in")
    code, out, err = tbq("client", server.uri, "--json")
    ok(code == 1 and "allow list" in events(out)[-1]["text"], "who is not is told so", out + err)
    server.stop()
    write(path, "# these\nnot a peer id\n")
    for option in (["--deny", path], ["--trust", "allow:" + path]):
        code, _, err = tbq("server", "--bind", "127.0.0.1:0", "--state", folder + "/t", *option)
        ok(code == 2 and path in err and "line 2" in err, f"a bad list in {option[0]}: file and line",
           err)


def wrong_pin(folder):
    server = Server(folder)
    first = "b" if server.uri[6] == "a" else "a"
    code, out, err = tbq("client", "tbq://" + first + server.uri[7:], "--json")
    ok(code == 1 and "key" in events(out)[-1]["text"], "a wrong pin is refused by name", out + err)
    server.stop()


def store_gone(folder):
    server = Server(folder, store=True)
    path = write(folder + "/file", "something")
    shutil.rmtree(server.store)
    code, out, err = tbq("client", server.uri, "--send", path, "--json")
    told = [e for e in events(out) if e["event"] == "undelivered"]
    ok(code == 1 and len(told) == 1 and told[0]["id"] == 1 and told[0]["reason"],
       "the store is gone: the sender is told not delivered, with a reason", out + err)
    error = server.wait("error") or {}
    ok(server.store in error.get("text", "") and error.get("code", 0) < 0, "the server says why", error)
    ok(not server.told("message"), "and does not say that it has the message", server.lines)
    os.mkdir(server.store)
    code, out, err = tbq("client", server.uri, "--send", path, "--json")
    ok(code == 0 and server.stored() == [sha256(b"something")], "it is back: all goes on", out + err)
    ok(server.stop() == 0, "the server ends with 0")


class Elsewhere(Server):
    """A server whose store is a small file system of its own, in a namespace of its own."""

    def __init__(self, folder, options):
        script = f'mount -t tmpfs -o {options} none "$1" && shift && exec "$@"'
        self.wrapper = ["unshare", "--mount", "sh", "-c", script, "sh", os.path.join(folder, "store")]
        super().__init__(folder, store=True)

    def inside(self):
        return os.listdir(f"/proc/{self.process.pid}/root{self.store}")


def disks(folder):
    probe = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", folder],
                           capture_output=True, check=False)
    if probe.returncode != 0:
        skip("a full disk", "no namespaces here")
        skip("a store that is read-only", "no namespaces here")
        return
    big, small = write(folder + "/big", b"b" * 200000), write(folder + "/small", "s")
    server = Elsewhere(folder + "/full", "size=64k")
    code, out, err = tbq("client", server.uri, "--send", big, "--send", small, "--json")
    told = [(e["event"], e["id"]) for e in events(out) if "id" in e]
    ok(code == 1 and sorted(told) == [("delivered", 2), ("undelivered", 1)],
       "a full disk: what found no room is not delivered, what did is", out + err)
    ok(server.inside() == [sha256(b"s")], "and no half file is left", server.inside())
    ok("No space left" in (server.wait("error") or {}).get("text", ""), "the server says why",
       server.lines)
    server.stop()
    server = Elsewhere(folder + "/ro", "ro")
    code, out, err = tbq("client", server.uri, "--send", small, "--json")
    ok(code == 1 and '"undelivered"' in out and "Read-only" in
       (server.wait("error") or {}).get("text", ""), "a store that is read-only", out + err)
    ok(server.stop() == 0, "the server ends with 0")


def unheard(folder):
    read, to = os.pipe()
    with subprocess.Popen([TBQ, "server", "--bind", "127.0.0.1:0", "--state", folder, "--json"],
                          stdout=to, stderr=subprocess.PIPE, text=True) as server:
        os.close(to)
        uri = events(os.read(read, 65536).decode())[0]["uri"]
        os.close(read)
        tbq("client", uri, "--timeout", "500")
        ok(server.wait(WAIT) == 2 and "standard output" in server.stderr.read(),
           "nobody reads what the server says: it says so elsewhere, stops, exit 2")
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([TBQ, "server", "--bind", "127.0.0.1:0", "--state", folder],
                              stdout=full, stderr=subprocess.PIPE, text=True, timeout=WAIT, check=False)
    ok(done.returncode == 2 and "No space left" in done.stderr, "the same for a full disk", done.stderr)


def a_reader_that_stalls(folder):
    read, written = os.pipe()
    with subprocess.Popen([TBQ, "server", "--json", "--bind", "127.0.0.1:0", "--state",
                           folder + "/state"], stdout=written, stderr=subprocess.PIPE) as server:
        ready = b""
        while not ready.endswith(b"\n"):
            ready += os.read(read, 1)
        # Full, and by a descriptor of its own: the server's stays a blocking one.
        filler = os.open(f"/proc/self/fd/{written}", os.O_WRONLY | os.O_NONBLOCK)
        try:
            while True:
                os.write(filler, b"x" * 4096)
        except BlockingIOError:
            pass
        tbq("client", json.loads(ready)["uri"], "--timeout", "2000")  # now it has things to say
        server.send_signal(signal.SIGTERM)
        try:
            code = server.wait(WAIT)
        except subprocess.TimeoutExpired:
            code = "it hangs"
            server.kill()
        told = server.stderr.read()
    ok(code == 2 and b"nobody reads" in told, "a signal ends a server whose reader stalls",
       (code, told))
    for fd in (read, written, filler):
        os.close(fd)


run_all(a_reader_that_stalls, two_terminals, telling, lists, wrong_pin, store_gone, disks, unheard)
