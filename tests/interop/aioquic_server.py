#!/usr/bin/env python3
"""aioquic speaks tbq/1 as a server, and `tbq client` talks to it. TAP."""

import os

import aioquic_here

aioquic_here.or_skip("pings", "messages and their fates", "taken is told by who took it", "requests",
                     "reconnects", "a restart", "a session", "broadcasts",
                     "finding peers", "a Retry", "what tbq client refuses to send",
                     "what a server says against the rules")

from cli_help import FATES, Process, Server, fates, ok, run_all, sha256, write  # noqa: E402
from over_aioquic import Identity, Loop, Port  # noqa: E402
from tbq1 import (CLOSE, CRITICAL, DECLINE, KIND, NORMAL, REPEAT, UNORDERED, Node, V, frame,  # noqa: E402
                  make_record, now_ms)


class Listener:
    """A node that listens. `each(session)` sees a session before its first byte."""

    def __init__(self, node=None, each=None, **more):
        self.loop = Loop()
        self.node = node or Node()
        self.each = each
        self.sessions = []
        self.port = Port(self.loop, self._accept, self.node.identity, **more)
        self.uri = f"tbq://{self.node.identity.text}@127.0.0.1:{self.port.number}"

    def _accept(self, quic):
        session = self.node.session(quic)
        self.sessions.append(session)
        if self.each:
            self.each(session)
        return session

    def wait(self, condition):
        return self.loop.wait(condition)

    def client(self, *arguments, **more):
        return Process("client", self.uri, *arguments, **more)

    def end(self, client):
        """Turns the loop until the client has ended; its exit status."""
        self.wait(lambda: client.process.poll() is not None)
        return client.end()

    def taken(self):
        return [f for name, f in self.node.inbox if name == "TRANSITION"]


def pings(_):
    here = Listener()
    here.node.record = make_record(here.node.identity, f"0/127.0.0.1:{here.port.number}")
    client = here.client("--count", "2")
    code = here.end(client)
    ok(code == 0 and len(client.told("pong")) == 2, "tbq client pings twice",
       (client.lines, client.err))
    connected = client.told("connected")[0]
    ok(connected["peer_id"] == here.node.identity.text, "and knows with whom", connected)
    s = here.sessions[0]
    ok(s.hello and s.confirm and s.confirm["known"] == 0 and
       s.confirm["observed"] == f"127.0.0.1:{here.port.number}", "its Hello and Confirm", s.confirm)
    ok(s.peer_key is not None and s.quic.tls.alpn_negotiated == "tbq/1",
       "it has shown an Ed25519 certificate")
    here.wait(lambda: s.closed)
    ok(s.closed and s.closed[0] in (CLOSE["NONE"], CLOSE["STOPPED"]) and s.closed[1],
       "and says goodbye", s.closed)
    ok(len(here.sessions) == 1, "one connection did it")


def messages(folder):
    here = Listener()
    big = os.urandom(700000)
    paths = [write(f"{folder}/{i}", t) for i, t in enumerate((b"one", b"", big))]
    client = here.client(*(x for p in paths for x in ("--send", p)))
    code = here.end(client)
    counted, once = fates(client.told())
    ok(code == 0 and once and counted["delivered"] == 3, "three files are delivered",
       (counted, client.err))
    ok([sha256(V.from_hex(f["data"])) for f in here.taken()] == [sha256(t) for t in (b"one", b"", big)],
       "whole, and in order")
    lines = write(folder + "/lines", "".join(f"line {i}\n" for i in range(500)))
    here.node.inbox.clear()
    client = here.client("--lines", "--send", lines)
    code = here.end(client)
    counted, once = fates(client.told())
    ok(code == 0 and once and counted["delivered"] == 500, "500 lines", (counted, client.err))
    ok([V.from_hex(f["data"]) for f in here.taken()] == [f"line {i}".encode() for i in range(500)],
       "in order")
    s = here.sessions[-1]
    here.node.inbox.clear()
    settled = [f["below"] for f in s.got("settled") if f["lane"] == NORMAL]
    ok(settled == sorted(settled), "SETTLED does not fall", settled)


def held(folder):
    here = Listener()
    here.node.take = False
    paths = [write(f"{folder}/{i}", str(i)) for i in range(4)]
    client = here.client(*(x for p in paths for x in ("--send", p)))
    here.wait(lambda: len(here.taken()) == 4)
    s = here.sessions[0]
    s.send("ping", CRITICAL, id=3, wall_ms=now_ms())
    here.wait(lambda: 3 in s.pongs)
    ok(not client.told(*FATES), "what is received but not taken has no fate")
    lane = here.taken()[0]["lane"]
    numbers = [f["number"] for f in here.taken()]
    s.take(lane, numbers[2])
    here.wait(lambda: client.told("delivered"))
    ok([e["id"] for e in client.told(*FATES)] == [3], "TAKEN of one tells that one", client.lines)
    s._decline(lane, numbers[1], DECLINE["REFUSED"])
    here.wait(lambda: client.told("undelivered"))
    told = client.told("undelivered")[0]
    ok(told["id"] == 2 and "refused" in told["reason"], "DECLINED, REFUSED: undelivered", told)
    s._decline(lane, numbers[0], 77)
    here.wait(lambda: len(client.told("undelivered")) == 2)
    ok(client.told("undelivered")[-1]["id"] == 1, "an unknown reason is a decline", client.lines)
    here.wait(lambda: [f for f in s.got("settled") if f["lane"] == lane and f["below"] == 3])
    ok(s.got("settled"), "SETTLED lets the declines be forgotten", s.frames)
    s.take(lane, numbers[3])
    ok(here.end(client) == 1, "not all were delivered: exit 1", client.err)


def asked(folder):
    here = Listener()
    here.node.serve = lambda data: (0, data[::-1]) if data != b"nothing" else (1, b"no such thing")
    question, out = write(folder + "/q", b"question"), folder + "/a"
    client = here.client("--request", question, "--output", out)
    code = here.end(client)
    with open(out, "rb") as f:
        ok(code == 0 and f.read() == b"noitseuq", "tbq client --request is answered",
           (client.lines, client.err))
    ok(client.told("response")[0]["sha256"] == sha256(b"noitseuq"), "and says so", client.lines)
    client = here.client("--request", write(folder + "/n", b"nothing"), "--output", folder + "/b")
    code = here.end(client)
    ok(code == 1 and not os.path.exists(folder + "/b") and client.told("error"),
       "NOT_FOUND: exit 1, and no file", (code, client.lines))
    here.node.serve = None
    client = here.client("--request", question, "--output", folder + "/c")
    ok(here.end(client) == 1 and client.told("error"), "NOT_SERVED: exit 1", client.lines)


def unacknowledged(folder, many):
    """A client has sent its messages, and was told nothing: also the session and the lane."""
    here = Listener()
    here.node.acknowledge = False
    paths = [write(f"{folder}/{i}", str(i)) for i in range(many)]
    client = here.client(*(x for p in paths for x in ("--send", p)))
    here.wait(lambda: len(here.taken()) == many)
    return here, client, here.sessions[0], here.taken()[0]["lane"]


def comes_again(here, first):
    """The next session, when the first is closed."""
    here.node.acknowledge = True
    first.quic.close(CLOSE["STOPPED"])
    here.wait(lambda: len(here.sessions) > 1 and here.sessions[-1].up)
    return here.sessions[-1]


def reconnects(folder):
    here, client, first, lane = unacknowledged(folder, 6)
    # All came. It is told of four, and that two of these are taken; then the connection is gone.
    first.control(frame("ack", lane=lane, received="4", taken="2"))
    here.wait(lambda: len(client.told("delivered")) == 2)
    again = comes_again(here, first)
    ok(again.hello["boot_id"] == first.hello["boot_id"] and
       again.confirm["incarnation"] == first.confirm["incarnation"], "it comes back as it was",
       again.confirm)
    ok(again.confirm["base"].split(",")[lane] == "4", "its base is what it was not told of",
       again.confirm)
    code = here.end(client)
    resent = [(f["number"], f["flags"]) for f in again.got("message") if f["lane"] == lane]
    ok(not resent or resent == [(4, 0), (5, 0)],
       "it resends what no ACK covered, if anything, without REPEAT", resent)
    counted, once = fates(client.told())
    ok(code == 0 and once and counted["delivered"] == 6 and len(here.taken()) == 6,
       "all six are delivered, once", (counted, client.lines))


def restarts(folder):
    here, client, first, lane = unacknowledged(folder, 4)
    # It is told that 0 is taken and 1 is received; then another process answers, with the same key.
    first.control(frame("ack", lane=lane, received="2", taken="1"))
    here.wait(lambda: client.told("delivered"))
    here.node.boot_id = os.urandom(16)
    here.node.inbox.clear()
    again = comes_again(here, first)
    code = here.end(client)
    ok(again.confirm["known"] == 0, "it knows that the process is another", again.confirm)
    sent = [(V.from_hex(f["data"]), f["flags"]) for f in here.taken()]
    ok(sent == [(b"2", REPEAT), (b"3", REPEAT)],
       "what may have been taken comes again, flagged REPEAT", (sent, again.confirm))
    counted, once = fates(client.told())
    ok(once and [e["id"] for e in client.told("unknown")] == [2] and counted["delivered"] == 3,
       "what the old one had received and not taken is unknown", client.lines)
    ok(code == 1, "not all were delivered: exit 1", client.lines)


def resumes(folder):
    tickets = {}
    here = Listener(tickets=tickets)
    client = here.client("--send", write(folder + "/file", "x"), "--count", "3")
    here.wait(lambda: client.told("pong"))
    first = here.sessions[0]
    again = comes_again(here, first)
    ok(not first.quic.tls.session_resumed and again.quic.tls.session_resumed and len(tickets) == 2,
       "with a ticket, tbq client comes back by resumption", len(tickets))
    ok(not again.quic.tls.early_data_accepted and here.end(client) == 0,
       "without 0-RTT, and goes on as before", client.lines)


def broadcasts(folder):
    here = Listener()
    address = f"127.0.0.1:{here.port.number}"
    client = Process("broadcast", "--bootstrap", address, write(folder + "/word", "to all"))
    code = here.end(client)
    ok(code == 0 and
       [e["peer_id"] for e in client.told("reached")] == [here.node.identity.text] and
       [V.from_hex(f["data"]) for f in here.taken()] == [b"to all"], "tbq broadcast reaches us",
       (client.lines, client.err))


def finds(folder):
    here = Listener()
    real, forged = Identity(), Identity()
    false = bytearray(make_record(forged, "0/127.0.0.1:1"))
    false[-1] ^= 1
    here.node.records = [bytes(false), make_record(real, "0/127.0.0.1:1", role=2)]
    server = Server(folder, "127.0.0.1:0", "--bootstrap", f"127.0.0.1:{here.port.number}")
    here.wait(lambda: server.told("peer"))
    ok([e["peer_id"] for e in server.told("peer")] == [real.text],
       "tbq server asks us whom we know, and hears of a node; of a forged record it does not",
       server.lines)
    ok([f for name, f in here.node.inbox if name == "DISCOVER"], "by DISCOVER")
    server.process.terminate()
    here.wait(lambda: server.process.poll() is not None)
    ok(server.end() == 0, "the server ends with 0", server.err)


def proving(_):
    here = Listener(retry=True)
    client = here.client()
    code = here.end(client)
    ok(code == 0 and client.told("pong") and len(here.port.retried) == 1,
       "a server that asks for a Retry: tbq client proves its address", (client.lines, client.err))


def refusing(folder):
    node = Node(Identity())
    node.max_message_size = 2000
    here = Listener(node)
    big, small = write(folder + "/big", b"x" * 2001), write(folder + "/small", b"x" * 2000)
    client = here.client("--send", big, "--send", small)
    code = here.end(client)
    told = [(e["event"], e["id"]) for e in client.told(*FATES)]
    ok(code == 0 and told == [("delivered", 1), ("delivered", 2)],
       "what is larger than our max_message_size comes in parts, what fits as a message", client.lines)
    ok([len(V.from_hex(f["data"])) for f in here.taken()] == [2000], "the message")
    ok([data for name, data in node.inbox if name == "WHOLE"] == [b"x" * 2001] and not node.bodies,
       "and the parts, each no larger", [f for f in node.inbox if f[0] == "BODY"])
    node.take_bodies = False
    client = here.client("--send", big, "--send", small)
    code = here.end(client)
    told = [(e["event"], e["id"]) for e in client.told(*FATES)]
    ok(code == 1 and told == [("undelivered", 1), ("delivered", 2)],
       "where we take no bodies, it is not delivered, and what comes behind it is", client.lines)
    wrong = here.uri.replace(node.identity.text, Identity().text)
    client = Process("client", wrong)
    code = here.end(client)
    ok(code == 1 and "key" in client.told("error")[-1]["text"], "another key than the one dialled",
       client.lines)
    here.wait(lambda: here.sessions[-1].closed)
    ok(here.sessions[-1].closed[:2] == (CLOSE["PIN"], True), "we are told: PIN",
       here.sessions[-1].closed)


def lying(_):
    """Each case is a server that does one thing wrong; what the client closes with."""
    def talk(*control):
        def run(s):
            s.control(b"".join(c(s) if callable(c) else c for c in control))
        return run

    def lane(*bodies):
        def run(s):
            s.control(s.hello_bytes() + s.confirm_bytes())
            s.lane_bytes(NORMAL, b"".join(bodies))
        return run

    def hello(s):
        return s.hello_bytes()

    def confirm(s):
        return s.confirm_bytes()

    def message(number, flags=0):
        return frame("message", number=number, flags=flags, kind=KIND["TRANSITION"], body="-")

    def other_record(s):
        s.node.record = make_record(Identity())
        out = s.confirm_bytes()
        s.node.record = None
        return out

    cases = [
        ("CONFIRM before HELLO", talk(confirm), "PROTOCOL"),
        ("HELLO twice", talk(hello, hello), "PROTOCOL"),
        ("ACK before CONFIRM", talk(hello, frame("ack", lane=0, received="0", taken="0")), "PROTOCOL"),
        ("ACK of what was not sent",
         talk(hello, confirm, frame("ack", lane=0, received="9", taken="9")), "PROTOCOL"),
        ("DECLINED of what was not sent",
         talk(hello, confirm, frame("declined", lane=0, entries="9:0")), "PROTOCOL"),
        ("the record of another key", talk(hello, other_record), "PROTOCOL"),
        ("an unknown even frame", talk(hello, confirm, frame("unknown", type=0x42, body="-")),
         "VERSION"),
        ("a control frame of 4,097 bytes",
         talk(hello, confirm, V.varint(0x43) + V.prefixed(bytes(4097))), "LIMIT"),
        ("BUSY behind HELLO", talk(hello, frame("busy", records="none")), "PROTOCOL"),
        ("a number 65,536 above", lane(message(65536)), "LIMIT"),
        ("an unknown flag", lane(message(0, 4)), "VERSION"),
        ("ACK on a lane", lane(frame("ack", lane=0, received="0", taken="0")), "PROTOCOL"),
        ("a stream of an unknown even type", lambda s: s.raw(V.varint(0x44)), "VERSION"),
        ("a second control stream", lambda s: (s.control(s.hello_bytes()), s.raw(V.varint(0))),
         "PROTOCOL"),
        ("an unordered stream of two", lambda s: (
            s.control(s.hello_bytes() + s.confirm_bytes()),
            s.raw(V.varint(UNORDERED) + V.varint(1) + message(0) + message(1), end=True)), "PROTOCOL"),
        ("the end of a lane", lambda s: (s.control(s.hello_bytes() + s.confirm_bytes()),
                                         s.lane_bytes(1, message(0), end=True)), "PROTOCOL"),
    ]
    here = Listener(each=lambda s: setattr(s, "mute", True))
    for what, run, code in cases:
        seen = len(here.sessions)
        client = here.client("--timeout", "20000")
        here.wait(lambda: len(here.sessions) > seen and here.sessions[-1].hello)
        s = here.sessions[-1]
        run(s)
        here.wait(lambda: s.closed)
        ok(s.closed and s.closed[:2] == (CLOSE[code], True), f"{what}: {code}", s.closed)
        client.process.kill()
        here.end(client)
    here.each = None
    client = here.client()
    ok(here.end(client) == 0, "and an honest one is talked to", client.lines)


run_all(pings, messages, held, asked, reconnects, restarts, resumes, broadcasts, finds, proving,
        refusing, lying)
