#!/usr/bin/env python3
"""Three hosts on one switch, each in a network namespace of its own that this test makes: real
processes find one another by IPv4 and IPv6, exchange messages and files, and keep what they have to
say while a cable is pulled. Takes root and `ip netns`; the machine's own network is not touched. TAP."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

from cli_help import Process, comes_true, events, fates, ok, run_all, sha256, skip, tbq, write

PREFIX = f"tbq{os.getpid()}-"
SWITCH = PREFIX + "switch"
HOSTS = {"a": 1, "b": 2, "c": 3}
PORT = 8443
MANY = 1200  # messages of a stream, of SIZE bytes: more than a receive window in all
SIZE = 2000


def ip(*arguments):
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def of(host):
    return PREFIX + host


def inside(host):
    return ["ip", "netns", "exec", of(host)]


def v4(host):
    return f"10.77.0.{HOSTS[host]}:{PORT}"


def v6(host):
    return f"[fd77::{HOSTS[host]}]:{PORT}"


# ---- the hosts and their cables --------------------------------------------------------------


def take_down(gone):
    for line in ip("netns", "list").splitlines():
        name = line.split()[0]
        if gone(name):
            ip("netns", "delete", name)


def left_behind(name):
    """Of a run that was killed."""
    m = re.match(r"tbq(\d+)-", name)
    return m is not None and not os.path.exists(f"/proc/{m.group(1)}")


def put_up():
    ip("netns", "add", SWITCH)
    ip("-n", SWITCH, "link", "add", "bridge", "type", "bridge")
    ip("-n", SWITCH, "link", "set", "bridge", "up")
    for host, number in HOSTS.items():
        ip("netns", "add", of(host))
        ip("link", "add", "eth0", "netns", of(host), "type", "veth",
           "peer", "name", f"port-{host}", "netns", SWITCH)
        ip("-n", SWITCH, "link", "set", f"port-{host}", "master", "bridge", "up")
        ip("-n", of(host), "link", "set", "lo", "up")
        ip("-n", of(host), "address", "add", f"10.77.0.{number}/24", "dev", "eth0")
        ip("-n", of(host), "address", "add", f"fd77::{number}/64", "dev", "eth0", "nodad")
        ip("-n", of(host), "link", "set", "eth0", "up")
    subprocess.run([*inside("a"), "true"], check=True, capture_output=True)


def pull_cable(host, pulled=True):
    ip("-n", SWITCH, "link", "set", f"port-{host}", "down" if pulled else "up")


# ---- processes on them -----------------------------------------------------------------------


class On(Process):
    def __init__(self, host, *arguments, **more):
        self.wrapper = inside(host)
        super().__init__(*arguments, **more)


def server(here, host, *more):
    store = os.path.join(here, f"store-{host}")
    os.mkdir(store)
    p = On(host, "server", "--bind", f"[::]:{PORT}", "--state", os.path.join(here, host),
           "--store", store, *more)
    p.ready = p.wait("ready") or {"peer_id": "none"}
    p.store = store
    return p


def on(host, *arguments):
    return tbq(*arguments, wrapper=inside(host))


# ---- stories ---------------------------------------------------------------------------------


def they_find_one_another(servers):
    ok(all(p.wait("ready") for p in servers.values()), "three hosts listen on all their addresses",
       [p.log() for p in servers.values()])
    ids = {p.ready["peer_id"] for p in servers.values()}
    ok(comes_true(lambda: all(len(p.live() & ids) == 2 for p in servers.values())) is not None,
       "two that know the third, by IPv4 and by IPv6, are connected to one another as well",
       [p.told("connected", "peer", "disconnected") for p in servers.values()])
    ways = {e["address"].rsplit(":", 1)[0] for p in servers.values() for e in p.told("connected")}
    ok({"10.77.0.1"} < ways and "[fd77::1]" in ways, "over both IP versions", ways)


def they_exchange(here, servers):
    letter = os.urandom(500000)
    path = write(os.path.join(here, "letter"), letter)
    os.mkdir(os.path.join(here, "files", "shelf"))
    write(os.path.join(here, "files", "shelf", "book"), letter[::-1])
    for address in (v4("b"), v6("b")):
        target = f"tbq://{servers['b'].ready['peer_id']}@{address}"
        code, out, err = on("c", "client", target, "--send", path, "--json")
        counted, _ = fates(events(out))
        ok(code == 0 and counted["delivered"] == 1, f"a message to {address}", out + err)
    with open(os.path.join(servers["b"].store, sha256(letter)), "rb") as f:
        ok(f.read() == letter, "is stored as it was sent")

    question = write(os.path.join(here, "question"), "shelf/book")
    answer = os.path.join(here, "answer")
    for address in (v4("a"), v6("a")):
        code, out, err = on("b", "client", address, "--request", question, "--output", answer)
        with open(answer, "rb") as f:
            ok(code == 0 and f.read() == letter[::-1], f"a file by request from {address}",
               out + err)

    code, out, err = on("c", "broadcast", "--bootstrap", v6("a"), "--wait", "20", "--json", path)
    told = events(out)
    peers = {e["peer_id"] for e in told if e["event"] == "reached"}
    ok(code == 0 and peers == {p.ready["peer_id"] for p in servers.values()} and
       told[-1]["reached"] == 3 and told[-1]["undelivered"] + told[-1]["unknown"] == 0,
       "a broadcast has a fate for each host", out + err)


def tried(host):
    """Packets that a host wanted to send, for which there may have been no way."""
    counted = 0
    for line in subprocess.run([*inside(host), "cat", "/proc/net/snmp6"], capture_output=True,
                               text=True, check=True).stdout.splitlines():
        name, value = line.split()
        counted += int(value) if name in ("Ip6OutRequests", "Ip6OutNoRoutes") else 0
    ip4 = subprocess.run([*inside(host), "grep", "^Ip:", "/proc/net/snmp"], capture_output=True,
                         text=True, check=True).stdout.splitlines()
    numbers = dict(zip(ip4[0].split()[1:], ip4[1].split()[1:]))
    return counted + int(numbers["OutRequests"]) + int(numbers["OutNoRoutes"])


def a_cable_is_pulled(here, receiver, name, address, pull, plug):
    """A stream from b that is longer than a window; the cable is out in the middle of it."""
    lines = [f"{name}, line {i} ".ljust(SIZE, ".") for i in range(MANY)]
    path = write(os.path.join(here, "lines"), "\n".join(lines) + "\n")
    before = len(receiver.told("message"))

    def arrived():
        return len(receiver.told("message")) - before

    sender = On("b", "client", address, "--lines", "--send", path)
    sender.wait("delivered", many=100)
    pull()
    out = tried("b")
    ok(comes_true(lambda: tried("b") >= out + 5) is not None and arrived() < MANY,
       f"{name}: out while the stream is under way; b goes on sending", [arrived(), sender.log()])
    done = len(sender.told("delivered"))
    plug()
    plugged = time.monotonic()
    sender.wait("delivered", many=done + 1)
    print(f"# {name}: the next was delivered {time.monotonic() - plugged:.2f} s after that")
    code = sender.end()
    counted, once = fates(sender.told())
    ok(code == 0 and counted["delivered"] == MANY and once,
       f"{name}: in again; every message has its fate, once, and it is delivered",
       [code, counted, sender.told("error", "warning"), sender.log()])
    comes_true(lambda: arrived() >= MANY)
    got = [e["sha256"] for e in receiver.told("message")][before:]
    ok(sorted(got) == sorted(sha256(line.encode()) for line in lines),
       f"{name}: and was handed out, once", len(got))


def three_hosts(here):
    os.mkdir(os.path.join(here, "files"))
    servers = {"a": server(here, "a", "--serve", os.path.join(here, "files"))}
    try:
        servers["b"] = server(here, "b", "--bootstrap", v4("a"))
        servers["c"] = server(here, "c", "--bootstrap", v6("a"))
        they_find_one_another(servers)
        they_exchange(here, servers)
        receiver = servers["a"]
        for way in (v4, v6):
            a_cable_is_pulled(here, receiver, f"cable by {way('a')}", way("a"), lambda: pull_cable("b"),
                              lambda: pull_cable("b", False))
        down = lambda: ip("-n", of("b"), "link", "set", "eth0", "down")
        up = lambda: ip("-n", of("b"), "link", "set", "eth0", "up")
        a_cable_is_pulled(here, receiver, "interface", v4("a"), down, up)
    finally:
        for p in servers.values():
            p.process.terminate()
        ended = [p.end() for p in servers.values()]
    ok(ended == [0] * len(ended), "all end well", ended)


def in_namespaces(here):
    what = "three hosts in network namespaces"
    if os.geteuid() != 0:
        skip(what, "making network namespaces takes root")
        return
    if shutil.which("ip") is None:
        skip(what, "there is no ip (iproute2)")
        return
    try:
        take_down(left_behind)
        put_up()
    except (OSError, subprocess.CalledProcessError) as e:
        take_down(lambda name: name.startswith(PREFIX))
        skip(what, f"network namespaces cannot be made here: {e}")
        return
    try:
        three_hosts(here)
    finally:
        take_down(lambda name: name.startswith(PREFIX))


signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was made is taken down
run_all(in_namespaces)
