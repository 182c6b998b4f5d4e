#!/usr/bin/env python3
"""Many real processes that know one address: they find one another, from one bootstrap node and,
restarted, from their books; a broadcast reaches all of them; files are served, and nothing else."""

import os
import signal
import time

from cli_help import Process, ok, run_all, tbq, write

NODES = 20


def server(here, name, *more):
    p = Process("server", "--bind", "127.0.0.1:0", "--state", os.path.join(here, name), *more)
    ready = p.wait("ready")
    return p, ready


def ends(processes):
    for p in processes:
        p.process.send_signal(signal.SIGTERM)
    return [p.process.wait(timeout=60) for p in processes]


def known(p):
    return {e["peer_id"] for e in p.told("peer", "connected")}


def all_know(processes, ids, guard_s=60):
    """Waits until each has heard of all others; how long it took, or None."""
    began = time.monotonic()
    while time.monotonic() < began + guard_s:
        if all(len(known(p) & ids) >= len(ids) - 1 for p in processes):
            return time.monotonic() - began
        with processes[0].news:
            processes[0].news.wait(0.05)
    return None


def twenty_find_one_another(here):
    first, ready = server(here, "n0")
    processes, ids = [first], {ready["peer_id"]}
    for i in range(1, NODES):
        p, r = server(here, f"n{i}", "--bootstrap", ready["uri"])
        processes.append(p)
        ids.add(r["peer_id"])
    took = all_know(processes, ids)
    ok(took is not None, f"{NODES} processes that know one address all know all",
       [len(known(p) & ids) for p in processes])
    print(f"# it took {took} s after the last was ready")

    path = write(os.path.join(here, "news"), "news for all")
    status, out, err = tbq("broadcast", "--bootstrap", ready["uri"], "--json", path)
    ok(status == 0 and f'"reached":{NODES}' in out, "a broadcast reaches all of them", out + err)
    got = [p for p in processes if p.wait("message") is not None]
    ok(len(got) == NODES, "each has it")

    stopped = processes[5]
    stopped.process.send_signal(signal.SIGSTOP)
    status, out, err = tbq("broadcast", "--bootstrap", ready["uri"], "--wait", "1", "--json", path)
    stopped.process.send_signal(signal.SIGCONT)
    ok(status == 0 and f'"reached":{NODES - 1}' in out,
       "one that is stopped holds up nobody", out + err)

    first.process.kill()
    first.process.wait()
    late, r = server(here, "late", "--bootstrap", processes[7].told("ready")[0]["uri"])
    ids.add(r["peer_id"])
    rest = processes[1:] + [late]
    ok(all_know(rest, ids) is not None, "without the first, who comes late is known to the rest",
       [len(known(p) & ids) for p in rest])
    ok(ends(rest) == [0] * len(rest), "all end well")


def books_find_everybody_again(here):
    first, ready = server(here, "n0")
    processes, ids = [first], {ready["peer_id"]}
    for i in range(1, 8):
        p, r = server(here, f"n{i}", "--bootstrap", ready["uri"])
        processes.append(p)
        ids.add(r["peer_id"])
    ports = [p.told("ready")[0]["address"] for p in processes]
    ok(all_know(processes, ids) is not None, "eight know one another")
    ends(processes)
    again = []
    for i, address in enumerate(ports):
        p = Process("server", "--bind", address, "--state", os.path.join(here, f"n{i}"))
        ok(p.wait("ready") is not None, f"node {i} is back at {address}")
        again.append(p)
    began = time.monotonic()
    up = lambda: all(len({e["peer_id"] for e in p.told("connected")}) >= 7 for p in again)
    while not up() and time.monotonic() < began + 60:
        with again[0].news:
            again[0].news.wait(0.05)
    ok(up(), "restarted without any bootstrap, all are connected to all again",
       [len(p.told("connected")) for p in again])
    ends(again)


def files_and_nothing_else(here):
    folder = os.path.join(here, "files")
    os.makedirs(os.path.join(folder, "deep", "er"))
    write(os.path.join(folder, "plain"), "a plain file")
    write(os.path.join(folder, "deep", "er", "one"), "deeper")
    write(os.path.join(folder, "empty"), "")
    write(os.path.join(here, "secret"), "never")
    os.symlink("../secret", os.path.join(folder, "link"))
    os.symlink("..", os.path.join(folder, "up"))
    os.mkfifo(os.path.join(folder, "pipe"))
    with open(os.path.join(folder, "large"), "wb") as f:
        f.truncate(2 << 20)
    p, ready = server(here, "state", "--serve", folder)

    def ask(name):
        question = write(os.path.join(here, "question"), name)
        return tbq("client", ready["uri"], "--request", question)

    for name, content in (("plain", "a plain file"), ("deep/er/one", "deeper"), ("empty", "")):
        status, out, err = ask(name)
        ok(status == 0 and out == content, f"{name} is served", out + err)
    for name, why in (("nothing", "no such file"), ("deep/nothing", "no such file"),
                      ("../secret", "no name"), ("deep/../plain", "no name"),
                      ("/etc/passwd", "no name"), ("link", "no name"), ("up/secret", "no name"),
                      ("deep", "no name"), ("deep/", "no name"), ("pipe", "no name"),
                      (".", "no name"), ("plain\0", "no name"), ("%2e%2e/secret", "no such file"),
                      ("deep//er/one", "no name"), ("x" * 5000, "no name"),
                      ("large", "larger than a message")):
        status, out, err = ask(name.encode())
        ok(status == 1 and out == "" and why in err, f"{name[:20]!r} is refused by name", out + err)
    ends([p])


def a_reload_turns_away(here):
    deny = write(os.path.join(here, "deny"), "# nobody\n")
    a, ready = server(here, "a", "--deny", deny)
    b, other = server(here, "b", "--bootstrap", ready["uri"])
    ok(b.wait("connected") is not None, "connected")
    write(deny, "rubbish\n")
    a.process.send_signal(signal.SIGHUP)
    warned = a.wait("warning")
    ok(warned is not None and "deny: line 1" in warned["text"], "a bad list is told, and ignored",
       a.told())
    write(deny, other["peer_id"] + "\n")
    a.process.send_signal(signal.SIGHUP)
    told = a.wait("reloaded")
    ok(told is not None and told["turned_away"] == 1, "SIGHUP reads the lists again", a.told())
    gone = b.wait("disconnected")
    ok(gone is not None and "deny list" in gone["reason"], "who is denied is told so", b.told())
    ends([a, b])


def first_use(here):
    a, ready = server(here, "a")
    b, _ = server(here, "b", "--trust", "first-use", "--bootstrap", ready["address"])
    ok(b.wait("connected") is not None, "first use connects to who is dialled")
    with open(os.path.join(here, "b", "known-peers"), encoding="utf-8") as f:
        ok(f.read() == f"{ready['address']} {ready['peer_id']}\n", "and remembers it")
    status, _, err = tbq("client", b.told("ready")[0]["uri"])
    ok(status == 1 and "only who was dialled" in err, "it admits nobody who comes by himself", err)
    ends([a])
    c = Process("server", "--bind", ready["address"], "--state", os.path.join(here, "c"))
    ok(c.wait("ready") is not None, "another key at the same address")
    end = time.monotonic() + 60
    while "not the one that was met there first" not in b.log() and time.monotonic() < end:
        with b.news:
            b.news.wait(0.05)
    ok("not the one that was met there first" in b.log(), "is refused, by name", b.log())
    ends([b, c])


def what_a_broadcast_refuses(here):
    status, _, err = tbq("broadcast")
    ok(status == 2 and "--bootstrap" in err, "a broadcast needs an address", err)
    status, _, err = tbq("broadcast", "--bootstrap", "127.0.0.1:1", "--wait", "1", os.devnull)
    ok(status == 1 and "nobody was reached" in err, "nobody there: 1", err)
    status, _, err = tbq("broadcast", "--bootstrap", "127.0.0.1:1", "--kind", "rumour", os.devnull)
    ok(status == 2 and "--kind" in err, "a kind that is none", err)


run_all(twenty_find_one_another, books_find_everybody_again, files_and_nothing_else,
        a_reload_turns_away, first_use, what_a_broadcast_refuses)
