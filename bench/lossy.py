"""Modes of bench/run.py over a link that loses packets. They need root, for namespaces.

What is counted is what the server has taken, in order, from its first byte on, for so many seconds:
what lies in queues at the end is nobody's. Each run has a link of its own (tests/net/lab.py), and in
a round all programs lose the same packets by number: so two of them that do the same come equally
far, and ten rounds tell the others apart.

Runs are long, for a loss is rare, and the links slow, so several rounds are measured at once, each
beginning with another program. Mode `loss-0` is the same without loss: it has to fill the link, or
else it is the emulator, or a machine that has other things to do, that is measured. A run fails
where the emulator was too slow for a frame.
"""

import os
import sys
import time

from parts import CLIENT_CORE, KIB, PATIENCE, SECOND, SERVER_CORE, SRC, BenchError, Mode, Process

sys.path.insert(0, os.path.join(SRC, "tests/net"))
from lab import WITH_US, Lab, LabError, missing  # noqa: E402

RATE, QUEUE = 100e6, "1m"  # bits a second; bytes: 84 ms of it
FILLED = 90  # Mbit/s of payload, where nothing is lost
SIZE = 16 * KIB  # of a message
FOR_EVER = "3600"  # seconds: a client is ended, so that it need not wait for what it has queued
PROGRAMS = ("libtbquic", "floor", "tls")


def tcp():
    """The kernel's congestion controller, and those that it has."""
    texts = []
    for name in ("tcp_congestion_control", "tcp_available_congestion_control"):
        try:
            with open("/proc/sys/net/ipv4/" + name, encoding="ascii") as f:
                texts.append(f.read().strip())
        except OSError:
            texts.append("unknown")
    return f"{texts[0]} of {texts[1]}"


class Lossy(Mode):
    rounds, seconds, at_once = 10, 12, 5
    few_nodes = True
    only, beside, unit = PROGRAMS, ("floor", "tls"), "Mbit/s"

    def __init__(self, percent, rtt):
        super().__init__(f"loss-{percent:g}-{rtt}ms" if percent else "loss-0", f"one way, round trip "
                         f"{rtt} ms, {percent:g} % of the packets lost each way", {"--size": SIZE})
        self.percent, self.rtt = percent, rtt
        self.rounds = self.rounds if percent else self.at_once

    def lacks(self):
        return missing()

    def once(self, program, seconds, number):
        try:
            with Lab(commands=(f"seed {number + 1}", f"delay {self.rtt / 2}", f"loss {self.percent}",
                               f"rate {RATE:.0f}", f"queue {QUEUE}")) as lab:
                return self.over(lab, program, seconds)
        except LabError as e:
            raise BenchError(str(e)) from e

    def over(self, lab, program, seconds):
        path, words = program.path, program.words(self)
        with Process(SERVER_CORE, path, "server", "--host", lab.right.ip4[0], *words,
                     within=[*WITH_US, *lab.right.enter]) as server:
            address = server.need("ready", PATIENCE)["address"]
            with Process(CLIENT_CORE, path, "client", address, "oneway", *words, "--seconds",
                         FOR_EVER, within=[*WITH_US, *lab.left.enter]) as client:
                before = self.first(server, client)
                sent = lab.paths[0].counters()["ab"]
                time.sleep(seconds)
                after = server.mark()
                return self.figures([before, after, sent, lab.paths[0].counters()])

    @staticmethod
    def first(server, client):
        """The mark at which the first bytes are there."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if client.process.poll() is not None:
                client.complain(f"{client.name} ended too early")
            mark = server.mark()
            if mark["bytes"] > 0:
                return mark
            time.sleep(0.01)
        raise BenchError("nothing arrived")

    def figures(self, result):
        before, after, sent, both = result
        slow = sum(way["missed"] + way["unsent"] for way in both.values())
        if slow:
            raise BenchError(f"the emulator was too slow for {slow} frames")
        ns, payload = after["now_ns"] - before["now_ns"], after["bytes"] - before["bytes"]
        rate = payload * 8 * SECOND / ns
        there = {k: both["ab"][k] - sent[k] for k in sent}
        return {"Mbit/s": rate / 1e6, "lost, %": 100 * there["lost"] / max(1, there["in"]),
                "bytes there, % of payload": 100 * there["in_bytes"] / max(1, payload)}


LOSSY_MODES = [Lossy(0, 20), *[Lossy(p, rtt) for rtt in (20, 100) for p in (0.1, 1, 5)]]
# The arguments of Target.
LOSSY_TARGETS = [("loss-0", "Mbit/s", ">=", FILLED, None),
                 *[(m.name, m.unit, ">=", 0.9, other) for m in LOSSY_MODES if m.percent
                   for other in m.beside]]
