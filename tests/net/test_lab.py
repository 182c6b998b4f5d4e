#!/usr/bin/env python3
"""The lab itself (lab.py, wire.c): probes find the links as they were ordered. TAP.

What is exact is tested over virtual time, in tests/unit/test_way.c; here real frames pass real
sockets. No claim depends on how fast the machine is: a probe may be late, but never early."""

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time

from cli_help import TBQ, WAIT, Server, ok, run_all, skip, tbq
from lab import HERE, Lab, LabError, missing

NS = 1e9
IP_UDP = 28  # bytes of the headers before a probe, in IPv4
UDP_SEGMENT = 103  # linux/udp.h


class Probe:
    """Numbered datagrams from one host to the other along a path, and which of them came."""

    def __init__(self, lab, path=0, family=socket.AF_INET, back=False):
        there, here = (lab.left, lab.right) if back else (lab.right, lab.left)
        v4 = family == socket.AF_INET
        self.wire, self.way = lab.paths[path], "ba" if back else "ab"
        self.receiver = there.socket(family)
        self.receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.receiver.bind(((there.ip4 if v4 else there.ip6)[path], 0))
        self.receiver.settimeout(WAIT)
        self.sender = here.socket(family)
        self.sender.connect(self.receiver.getsockname())

    def send(self, numbers, size=100):
        for n in numbers:
            self.sender.send(struct.pack("!IQ", n, time.monotonic_ns()).ljust(size, b"."))

    def get(self):
        """The next one: its number, seconds under way, and its bytes."""
        data = self.receiver.recv(1 << 16)
        number, sent = struct.unpack_from("!IQ", data)
        return number, (time.monotonic_ns() - sent) / NS, data

    def settle(self, many):
        """Waits until the wire has seen that many and has none under way; what it has counted."""
        guard = time.monotonic() + WAIT
        while True:
            c = self.wire.counters()[self.way]
            gone = sum(c[k] for k in ("out", "down", "mtu", "lost", "queue", "overflow"))
            if c["in"] >= many and gone == c["in"] + c["duplicated"]:
                return c
            if time.monotonic() > guard:
                raise LabError(f"frames did not come through: {c}")

    def all(self):
        """All that have come: call it when the wire has none left."""
        self.sender.send(struct.pack("!IQ", 0xffffffff, 0))
        came = []
        while (n := self.get()[0]) != 0xffffffff:
            came.append(n)
        return came

    def close(self):
        self.sender.close()
        self.receiver.close()


def delays(_):
    with Lab(1, ["delay 30"]) as lab:
        for family, name in ((socket.AF_INET, "IPv4"), (socket.AF_INET6, "IPv6")):
            for back in (False, True):
                probe = Probe(lab, family=family, back=back)
                took = []
                for n in range(15):
                    probe.send([n])
                    took.append(probe.get()[1])
                way = "back" if back else "there"
                ok(0.030 <= min(took) < 1, f"{name}, {way}: no probe is early: {min(took):.4f} s")
                probe.close()
        lab.paths[0].set("ba delay 80")
        there, back = Probe(lab), Probe(lab, back=True)
        there.send([1])
        back.send([1])
        took = there.get()[1], back.get()[1]
        ok(took[0] >= 0.030 and took[1] >= 0.080, f"a delay of one direction is its own: {took}")
        missed = [lab.paths[0].counters()[d][k] for d in ("ab", "ba") for k in ("missed", "unsent")]
        ok(not any(missed), "the wire was never too slow", missed)


def lossy(seed):
    with Lab(1, [f"seed {seed}", "loss 20"]) as lab:
        probe = Probe(lab)
        for first in range(0, 500, 50):
            probe.send(range(first, first + 50))
        count = probe.settle(500)
        lab.paths[0].set("loss 0")
        return probe.all(), count["lost"]


def losses(_):
    came, lost = lossy(7)
    ok(len(came) + lost == 500 and 50 < lost < 150, f"about 100 of 500 are lost: {lost}", came)
    ok(lossy(7) == (came, lost), "the same seed loses the same ones")
    ok(lossy(8)[0] != came, "another seed loses others")


def rates(_):
    with Lab(1, ["rate 800kbit", "queue 20000"]) as lab:
        probe = Probe(lab)
        began = time.monotonic()
        probe.send(range(100), 1000 - IP_UDP)  # a second's worth
        at_once = time.monotonic() - began
        came = []
        while len(came) < 20:
            came.append(probe.get()[0])
        took = time.monotonic() - began
        count = probe.settle(100)
        most = 20 + at_once * 100 + 1
        ok(20 <= count["out"] <= most and count["queue"] == count["in"] - count["out"],
           f"the queue takes 20, and what the rate makes room for: {count['out']}", (count, most))
        ok(took >= 0.2, f"20 of them take no less than their time: {took:.3f} s")
        ok(came == list(range(20)), "those that came first are the ones that were let in", came)


def black_holes(_):
    with Lab(2) as lab:
        here, other, back = Probe(lab), Probe(lab, 1), Probe(lab, back=True)
        lab.paths[0].set("ab down")
        here.send(range(10))
        count = here.settle(10)
        ok(count["down"] == 10 and count["out"] == 0, "a black hole swallows all", count)
        other.send([1])
        ok(other.get()[0] == 1, "the other path is none")
        back.send([2])
        ok(back.get()[0] == 2, "nor is the other direction")
        lab.paths[0].set("up")
        here.send([3])
        ok(here.get()[0] == 3, "and it ends")


def faults(_):
    with Lab(1) as lab:
        probe = Probe(lab)
        lab.paths[0].set("mtu 1000")
        probe.send([1], 1001 - IP_UDP)
        probe.send([2], 1000 - IP_UDP)
        ok(probe.get()[0] == 2 and probe.settle(2)["mtu"] == 1, "the longer one vanishes")
        lab.paths[0].set("mtu off", "duplicate 100")
        probe.send([3])
        ok([probe.get()[0], probe.get()[0]] == [3, 3], "a duplicate comes twice")
        lab.paths[0].set("duplicate 0", "delay 300")
        probe.send([4])
        lab.paths[0].set("reorder 100")
        probe.send([5])
        ok([probe.get()[0], probe.get()[0]] == [5, 4], "one overtakes")
        lab.paths[0].set("reorder 0", "delay 0", "corrupt 100")
        for family in (socket.AF_INET, socket.AF_INET6):
            broken = Probe(lab, family=family)
            before = bytes(500)
            broken.sender.send(before)
            after = broken.receiver.recv(1000)
            turned = sum(bin(a ^ b).count("1") for a, b in zip(before, after))
            ok(len(after) == 500 and turned == 1, f"one bit is turned, and it comes: {turned}")


def marks(_):
    with Lab(1, ["rate 800kbit", "ecn 15"]) as lab:
        for family, level, tos, wants in (
                (socket.AF_INET, socket.IPPROTO_IP, socket.IP_TOS, socket.IP_RECVTOS),
                (socket.AF_INET6, socket.IPPROTO_IPV6, socket.IPV6_TCLASS, socket.IPV6_RECVTCLASS)):
            probe = Probe(lab, family=family)
            probe.receiver.setsockopt(level, wants, 1)
            probe.sender.setsockopt(level, tos, 2)  # ECT(0)
            probe.send(range(10), 900)  # 9 ms each
            seen = []
            for _ in range(10):
                _, extra, _, _ = probe.receiver.recvmsg(1000, 100)
                seen.append(extra[0][2][0] & 3)
            ok(seen[0] == 2 and 3 in seen, f"who waits is marked, who does not is not: {seen}")


def segments(_):
    """A sender that leaves cutting to the kernel (UDP_SEGMENT) sends frames of a link's size."""
    with Lab(1) as lab:
        probe = Probe(lab)
        try:
            probe.sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
            probe.sender.send(b"x" * 5000)
        except OSError as e:
            skip("segments are cut before the wire", f"this kernel does not cut: {e}")
            return
        sizes = [len(probe.receiver.recv(1 << 16)) for _ in range(5)]
        count = probe.settle(5)
        ok(sizes == [1000] * 5 and not count["missed"], f"segments are cut before the wire: {sizes}")


def refused(path, *commands):
    """Which of them the wire refuses."""
    wrong = []
    for command in commands:
        try:
            path.set(command)
        except LabError as e:
            wrong += [command] if str(e).startswith("error: ") else []
    return wrong


def commands(_):
    with Lab(1) as lab:
        path = lab.paths[0]
        bad = ["", "fly", "delay", "delay x", "delay -1", "delay nan", "delay 1 2", "delay 1ms",
               "delay 60001", "rate 1mb", "loss 101", "loss 90 2", "loss 1 2 3", "down 1", "ab",
               "both up", "queue off", "queue 65m", "loss 100 x", "seed", "corrupt off", "y" * 300]
        ok(refused(path, *bad) == bad, "what cannot be is refused", set(bad) - set(refused(path, *bad)))
        probe = Probe(lab)
        probe.send(range(5))
        ok([probe.get()[0] for _ in range(5)] == list(range(5)), "and nothing of it was done")
        bad = refused(path, "ab delay 0.5", "ba  loss 1  8", "rate 1.5gbit", "queue 1m", "mtu 9k",
                      "ecn off", "rate off", "seed 9", "jitter 0.1", "reorder 0.5", "up")
        ok(not bad, "what can be is taken", bad)
        last = path.end()
        ok(last["ab"]["out"] >= 5 and path.process.returncode == 0,
           "the end of its input ends it, with its counters", last)


def programs(folder):
    with Lab(2, ["delay 5"]) as lab:
        Server.wrapper = lab.right.enter
        server = Server(folder, f"{lab.right.ip4[1]}:0")
        Server.wrapper = []
        lab.right.adopt(server.process)
        done = subprocess.run([*lab.left.enter, TBQ, "client", server.uri], capture_output=True,
                              text=True, timeout=WAIT, check=False)
        ok(done.returncode == 0 and "pong after" in done.stdout, "programs run in it: a pong",
           done.stdout + done.stderr)
        count = [path.counters()["ab"]["out"] for path in lab.paths]
        ok(count[1] > 0 and count[0] == 0, f"over the path that its address is of: {count}")
        code, _, _ = tbq("client", server.uri, "--timeout", "200")
        ok(code == 1, "and nowhere else")
        server.stop()


def endings(_):
    """However its owner ends, nothing is left."""
    for way in ("raise RuntimeError", "os.kill(os.getpid(), signal.SIGKILL)"):
        script = (f"import os, signal, sys\nsys.path.insert(0, {HERE!r})\nfrom lab import Lab\n"
                  "with Lab(1) as lab:\n"
                  "    lab.left.popen(['sh', '-c', 'echo && exec tail -f /dev/null'])\n"
                  "    print(*[p.pid for s in lab.spaces for p in s.processes], flush=True)\n"
                  f"    sys.stdin.readline()\n    {way}\n")
        owner = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        # Two lines, one of them from the program: before it runs, it ends with what it would run in.
        pids = [int(p) for _ in range(2) for p in owner.stdout.readline().split()]
        watched = [os.pidfd_open(p) for p in pids]
        owner.stdin.write("go\n")
        owner.stdin.close()
        status = owner.wait(WAIT)
        left = dict(zip(watched, pids))
        while left and (ended := select.select(left, [], [], WAIT)[0]):
            for fd in ended:
                os.close(fd)
                del left[fd]
        ok(len(pids) == 5 and not left, f"nothing is left after an end with {status}", (pids, left.values()))


REASON = missing()
if REASON:
    skip("the lab", REASON)
    print("1..1")
    sys.exit(0)
run_all(delays, losses, rates, black_holes, faults, marks, segments, commands, programs, endings)
