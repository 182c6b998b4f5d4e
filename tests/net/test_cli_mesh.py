#!/usr/bin/env python3
"""Many real processes that know one address: they find one another, from one bootstrap node and,
restarted, from their books; a broadcast reaches all of them; files are served, and nothing else."""

import os
import signal
import time

from cli_help import Process, comes_true, events, ok, run_all, tbq, write

NODES = 20
WANTED = 16  # connections that a node dials for, as peers_wanted is by default


def server(here, name, *more, bind="127.0.0.1:0"):
    p = Process("server", "--bind", bind, "--state", os.path.join(here, name), *more)
    p.ready = p.wait("ready")
    return p, p.ready


def ends(processes):
    for p in processes:
        p.process.send_signal(signal.SIGTERM)
    return [p.process.wait(timeout=60) for p in processes]


def known(p):
    return {e["peer_id"] for e in p.told("peer", "connected")}


def all_know(processes, ids):
    """Waits until each has heard of all others; how long it took, or None."""
    return comes_true(lambda: all(len(known(p) & ids) >= len(ids) - 1 for p in processes))


def tell_times(began, took):
    print(f"# it took {time.monotonic() - began:.1f} s from the first start, "
          f"{took or -1:.2f} s from the last")


def one_is_stopped(here, servers, ids):
    """A broadcast to all, one of which is stopped after it was connected and before anything was
    sent. Another one that is stopped holds the sending up meanwhile: as long as it is known, and not
    connected, the broadcast waits for it."""
    path = write(os.path.join(here, "more"), "more news for all")
    held, others = servers[9], servers[:9] + servers[10:]
    held.signal(signal.SIGSTOP)
    before = {p: p.live() for p in others}
    came = lambda: [p for p in others if p.live() - before[p] - ids]
    teller = Process("broadcast", "--bootstrap", servers[6].ready["uri"], "--wait", "60", path)
    ok(comes_true(lambda: len(came()) == len(others)) is not None and not teller.told("reached"),
       "one that has news for all is connected to all but one", len(came()))
    stopped = others[4]
    stopped.signal(signal.SIGSTOP)
    held.signal(signal.SIGCONT)
    status = teller.end()
    rest = [p for p in servers if p is not stopped]
    heard = [p for p in rest if len(p.told("message")) == 2]
    stopped.signal(signal.SIGCONT)
    order = [e["event"] for e in teller.told("reached", "unknown", "undelivered", "summary")]
    ok(status == 0 and [e["peer_id"] for e in teller.told("unknown")] ==
       [stopped.ready["peer_id"]] and {e["peer_id"] for e in teller.told("reached")} ==
       ids - {stopped.ready["peer_id"]},
       "one that was stopped then has its fate, unknown; all others were reached", teller.told())
    ok(order == ["reached"] * len(rest) + ["unknown", "summary"], "before that", order)
    ok(len(heard) == len(rest), "and had the message while it was stopped", len(heard))


def the_first_comes_and_goes(here, servers, ids):
    first = servers[0]
    rest = servers[1:]
    others = ids - {first.ready["peer_id"]}  # not those that came only to tell something
    before = [p.live() & others for p in rest]
    first.signal(signal.SIGKILL)
    first.end()
    late, r = server(here, "late", "--bootstrap", rest[6].ready["uri"])
    took = all_know([*rest, late], ids | {r["peer_id"]})
    ok(took is not None, "without the first, who comes late is known to the rest, and knows it")
    again, _ = server(here, "n0", bind=first.ready["address"])
    took = all_know([again], ids)
    ok(took is not None, "the first, restarted where it was, knows all again", len(known(again)))
    print(f"# it took {took or -1:.2f} s after it was ready")
    kept = [had - p.live() for p, had in zip(rest, before)]
    ok(not any(kept), "meanwhile nobody lost anybody else", kept)
    return [again, *rest, late]


def books_find_all_again(here, servers):
    """All but the first, restarted without any bootstrap."""
    ok(ends(servers) == [0] * len(servers), "all end well")
    began = time.monotonic()
    again = [server(here, f"n{i}", bind=servers[i].ready["address"])[0] for i in range(1, NODES)]
    ok(all(p.told("ready") for p in again), "all but the first are back where they were")
    # Two of those in the books are gone: a dial of each may take a place of those that are wanted.
    took = comes_true(lambda: all(len(p.live()) >= WANTED - 2 for p in again))
    ok(took is not None, "restarted without any bootstrap, each has company again",
       [len(p.live()) for p in again])
    tell_times(began, took)
    at = {p.ready["peer_id"]: p for p in again}
    seen, todo = set(), [again[0].ready["peer_id"]]
    while todo:
        peer = todo.pop()
        seen.add(peer)
        todo += [x for x in at[peer].live() & set(at) if x not in seen]
    ok(len(seen) == len(again), "and all hang together", len(seen))
    ends(again)


def twenty_find_one_another(here):
    began = time.monotonic()
    first, ready = server(here, "n0")
    servers = [first] + [server(here, f"n{i}", "--bootstrap", ready["uri"])[0]
                         for i in range(1, NODES)]
    ids = {p.ready["peer_id"] for p in servers}
    took = all_know(servers, ids)
    ok(took is not None and len(ids) == NODES,
       f"{NODES} processes that know one address all know all", [len(known(p) & ids) for p in servers])
    tell_times(began, took)

    path = write(os.path.join(here, "news"), "news for all")
    status, out, err = tbq("broadcast", "--bootstrap", ready["uri"], "--json", path)
    told = events(out)
    reached = [e["peer_id"] for e in told if e["event"] == "reached"]
    ok(status == 0 and len(reached) == NODES and set(reached) == ids and
       told[-1] == {"event": "summary", "reached": NODES, "undelivered": 0, "unknown": 0},
       "a broadcast has a fate for each of them", out + err)
    got = [p for p in servers if p.wait("message") is not None]
    ok(len(got) == NODES, "each has it")
    one_is_stopped(here, servers, ids)
    servers = the_first_comes_and_goes(here, servers, ids)
    books_find_all_again(here, servers)


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


run_all(twenty_find_one_another, files_and_nothing_else,
        a_reload_turns_away, first_use, what_a_broadcast_refuses)
