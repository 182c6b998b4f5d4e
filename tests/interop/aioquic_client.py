#!/usr/bin/env python3
"""aioquic speaks tbq/1 as a client of `tbq server`: all that docs/protocol.md lets it ask for. TAP."""

import os

import aioquic_here

aioquic_here.or_skip("a connection comes up", "messages and their fates", "declined", "giving up",
                     "requests", "finding peers", "reconnects", "a restart", "too large", "bodies",
                     "what may grow", "before the server's CONFIRM")

from cli_help import Server, ok, run_all, sha256, write  # noqa: E402
from over_aioquic import Identity, Loop, Port  # noqa: E402
from tbq1 import (CLOSE, CRITICAL, DECLINE, HIGH, KIND, LANE, LOW, NORMAL, SKIPPABLE,  # noqa: E402
                  UNORDERED, Node, V, body, frame, make_record, now_ms, verify_record)

NEVER = 1 << 60  # as what SETTLED has told: it is not said
LIMIT = 1 << 20  # max_message_size of tbq server


class Client:
    """A node, its socket, and one session with the server that is up."""

    def __init__(self, server, node=None, mute=False, wait=True, **more):
        self.loop = Loop()
        self.port = Port(self.loop)
        self.node = node or Node()
        self.server = server
        self.session = None
        self.again(mute, wait, **more)

    def again(self, mute=False, wait=True, **more):
        self.session = self.node.dial(self.port, ("127.0.0.1", int(self.server.port)), **more)
        self.session.mute = mute
        if wait and not mute:
            self.wait(lambda: self.session.up or self.session.closed)
        return self.session

    def wait(self, condition):
        return self.loop.wait(condition)

    def alive(self, ident=77):
        """A ping goes there and back."""
        self.session.send("ping", HIGH, id=ident, wall_ms=now_ms())
        return self.wait(lambda: ident in self.session.pongs or self.session.closed) and \
            not self.session.closed

    def fate(self, number, lane=NORMAL):
        self.wait(lambda: self.session.fate(lane, number) or self.session.closed)
        return self.session.fate(lane, number)

    def bye(self):
        self.session.quic.close(CLOSE["NONE"])
        self.wait(lambda: True)
        self.port.close()


def coming_up(folder):
    server = Server(folder)
    me = Client(server)
    s = me.session
    ok(s.up and s.quic.tls.alpn_negotiated == "tbq/1", "Hello and Confirm go both ways", s.closed)
    peer = server.wait("connected") or {}
    ok(peer.get("peer_id") == me.node.identity.text and
       peer.get("address") == f"127.0.0.1:{me.port.number}", "it knows whom it speaks with", peer)
    hello, confirm = s.hello, s.confirm
    ok(hello["minor"] == 0 and hello["features"] == 0 and hello["max_message_size"] == LIMIT and
       1000 <= hello["idle_timeout_ms"] <= V.DAY_MS, "what its HELLO says", hello)
    ok(confirm["incarnation"] and confirm["known"] == 0 and confirm["base"] == "0,0,0,0" and
       confirm["observed"] == f"127.0.0.1:{me.port.number}", "what its CONFIRM says", confirm)
    said = verify_record(V.from_hex(confirm["record"]))
    ok(V.id_to_text(V.hashlib.sha256(V.from_hex(said["key"])).digest()) == server.ready["peer_id"]
       and f"/{server.ready['address']}" in said["addresses"] and
       abs(said["sequence"] - now_ms()) < V.DAY_MS,
       "the record in it is signed by the key of its certificate, and says where it is", said)
    ok(me.alive(5), "PING and PONG")
    ok(me.fate(0, HIGH) == "delivered", "the PING is taken")
    peer = s.quic
    limits = (peer._remote_max_streams_bidi, peer._remote_max_streams_uni,
              peer._remote_max_stream_data_uni, peer._remote_max_datagram_frame_size)
    ok(limits[0] == 0 and limits[1] >= 16 and limits[2] >= LIMIT + 65536 and limits[3] is None
       and peer._remote_max_idle_timeout > 0, "its transport parameters are those of section 2", limits)
    server.process.terminate()
    me.wait(lambda: s.closed)
    ok(s.closed and s.closed[:2] == (CLOSE["STOPPED"], True), "SIGTERM: it closes with STOPPED",
       s.closed)
    ok(server.end() == 0, "and ends with 0", server.err)


def fates(folder):
    server = Server(folder, store=True)
    me = Client(server)
    s = me.session
    texts = [f"message {i}".encode() for i in range(40)]
    numbers = [s.send("transition", i % 4, unordered=i % 3 == 0, data=t.hex())
               for i, t in enumerate(texts)]
    told = [me.fate(n, i % 4) for i, n in enumerate(numbers)]
    ok(set(told) == {"delivered"} and numbers[-1] == 9,
       "ordered and unordered ones on four lanes are delivered", told)
    ok(sorted(server.stored()) == sorted(map(sha256, texts)), "and stored: TAKEN says no less")
    come = [m["sha256"] for m in server.told("message")]
    ok(len(come) == 40 and all(m["from"] == me.node.identity.text for m in server.told("message")),
       "each came once", come)
    in_order = [sha256(t) for i, t in enumerate(texts) if i % 3]
    for lane in range(4):
        mine = [sha256(t) for i, t in enumerate(texts) if i % 3 and i % 4 == lane]
        if [c for c in come if c in mine] != mine:
            in_order = None
    ok(in_order, "those of a lane in the order of their numbers", come)
    ok(all(s.link.out.lanes[lane].received.below >= 10 for lane in range(4)) and not s.closed,
       "RECEIVED and TAKEN cover all of them", [lane.received.text() for lane in s.link.out.lanes])
    s.send("transition", LOW, data=(b"x" * 300000).hex())
    ok(me.fate(10, LOW) == "delivered" and sha256(b"x" * 300000) in server.stored(), "a long one")
    s.send("transition", LOW, data="-")
    ok(me.fate(11, LOW) == "delivered", "an empty one")
    # One byte in a STREAM frame, each in a packet of its own.
    data = frame("message", number=12, flags=0, kind=KIND["TRANSITION"], body=b"crumbs".hex())
    for byte in data:
        s.lane_bytes(LOW, bytes([byte]))
        me.port.flush()
    ok(me.wait(lambda: sha256(b"crumbs") in server.stored()), "one that comes a byte at a time")
    me.bye()
    gone = server.wait("disconnected") or {}
    ok(gone.get("peer_id") == me.node.identity.text, "goodbye is heard", gone)
    ok(server.stop() == 0, "the server ends with 0")


def declined(folder):
    server = Server(folder)
    me = Client(server)
    s = me.session
    ping = body("ping", id=1, wall_ms=0)
    cases = [
        ("a message of an unknown kind", 40, b"", 0, "UNKNOWN_KIND"),
        ("a message of an unknown odd kind", 41, b"", 0, "UNKNOWN_KIND"),
        ("a message of an unknown kind, SKIPPABLE", 40, b"", SKIPPABLE, "delivered"),
        ("PING with half an id", KIND["PING"], ping[:4], 0, "MALFORMED"),
        ("PING with an unknown even field", KIND["PING"], ping + V.field(0, b"x"), 0,
         "UNKNOWN_KIND"),
        ("PING with an unknown odd field", KIND["PING"], ping + V.field(1, b"x"), 0, "delivered"),
        ("PING with fields that do not rise", KIND["PING"], ping + V.field(1, b"") * 2, 0,
         "MALFORMED"),
        ("request with the id 0", KIND["RESOURCE_REQUEST"], bytes(8) + b"\0", 0, "MALFORMED"),
        ("response that nobody waits for", KIND["RESOURCE_RESPONSE"], bytes(7) + b"\1\0x", 0,
         "delivered"),
        ("PONG that nobody waits for", KIND["PONG"],
         body("pong", id=9, echo_wall_ms=0, wall_ms=0), 0, "delivered"),
        ("PEER_LIST of 65 records", KIND["PEER_LIST"], V.varint(65) + b"\1x" * 65, 0, "MALFORMED"),
        ("PEER_LIST with records that are none", KIND["PEER_LIST"], b"\2\1x\1y", 0, "delivered"),
        ("ERROR with a text of 257 bytes", KIND["ERROR"], b"\1\0" + V.prefixed(b"x" * 257), 0,
         "MALFORMED"),
    ]
    for what, kind, data, flags, fate in cases:
        number = s.send_bytes(kind, data, NORMAL, False, flags)
        told = me.fate(number)
        ok(told == fate, f"{what}: {fate}", (told, s.closed))
    acks = [i for i, f in enumerate(s.frames) if f["frame"] == "ack" and f["lane"] == NORMAL]
    first = next(i for i, f in enumerate(s.frames) if f["frame"] == "declined")
    ok(first < min(acks), "DECLINED goes before the ACK that covers its number")
    ok(me.alive(), "the connection lives")
    me.bye()
    # The declines are settled: a new connection does not tell them.
    s = me_again(me)
    ok(s.up and me.alive(78) and not s.got("declined"), "what is settled is not told again",
       s.frames)
    server.stop()


def me_again(me):
    me.port = Port(me.loop)
    return me.again()


def giving_up(folder):
    server = Server(folder)
    me = Client(server)
    s = me.session
    message = {"flags": 0, "kind": KIND["TRANSITION"]}
    half = frame("message", number=0, body=b"half".hex(), **message)
    half_id = s.raw(V.varint(UNORDERED) + V.varint(NORMAL) + half[:-2])
    s.lane_bytes(NORMAL, frame("elsewhere", number=0) +
                 frame("message", number=1, body=b"one".hex(), **message))
    ok(me.wait(lambda: server.told("message")), "a lane goes on at ELSEWHERE without waiting")
    out = s.link.out.lanes[NORMAL]
    out.next, out.told = 5, NEVER
    s.control(frame("skip", lane=NORMAL, numbers="0"))
    me.wait(lambda: s.got("declined"))
    ok([d["entries"] for d in s.got("declined")] == [f"0:{DECLINE['SKIPPED']}"],
       "SKIP of one that is not whole: DECLINED, SKIPPED", s.frames)
    s.quic.reset_stream(half_id, 0)
    s.lane_bytes(NORMAL, frame("message", number=4, body=b"four".hex(), **message))
    me.wait(lambda: 4 in out.received)
    ok(out.received.below == 2 and len(server.told("message")) == 1,
       "a message waits for missing numbers, RECEIVED all the same", s.frames)
    s.control(frame("skip", lane=NORMAL, numbers="2,3"))
    me.wait(lambda: out.received.below == 5 and len(server.told("message")) == 2)
    told = ",".join(d["entries"] for d in s.got("declined")[1:])
    ok(told == "2:0,3:0" and out.received.below == 5 and len(server.told("message")) == 2,
       "SKIP gives them up, and it is handed over", s.frames)
    s.control(frame("skip", lane=NORMAL, numbers="1,3"))
    me.wait(lambda: len(s.got("declined")) > 2)
    again = s.got("declined")[-1]["entries"].split(",")
    ok("3:0" in again and "1:0" not in again,
       "SKIP again: what was declined is told again, what was taken is not", s.frames)
    late = frame("message", number=2, body=b"late".hex(), **message)
    s.raw(V.varint(UNORDERED) + V.varint(NORMAL) + late, end=True)
    ok(me.alive() and len(server.told("message")) == 2, "what comes too late changes nothing")
    me.port.drop(s)
    s = me_again(me)
    me.wait(lambda: s.got("ack"))
    names = [(f["frame"], f.get("entries")) for f in s.frames if f["frame"] in ("ack", "declined")
             and f["lane"] == NORMAL]
    ok(names[0] == ("declined", "0:0,2:0,3:0") and names[1][0] == "ack",
       "without SETTLED, a new connection tells the declines again, before any ACK", s.frames)
    s.control(frame("settled", lane=NORMAL, below=5))
    ok(me.alive(79), "SETTLED is taken")
    me.bye()
    s = me_again(me)
    ok(me.alive(80) and not s.got("declined"), "and then they are forgotten", s.frames)
    ok(server.stop() == 0, "the server ends with 0")


def asking(folder):
    files = folder + "/files"
    os.mkdir(files)
    write(files + "/there", b"the file")
    server = Server(folder, "127.0.0.1:0", "--serve", files)
    me = Client(server)
    s = me.session
    for ident, name in ((1, b"there"), (2, b"not there"), (3, b"../state/node.key")):
        s.send("resource_request", id=ident, timeout_ms=0, data=name.hex())
    me.wait(lambda: sum(name == "RESOURCE_RESPONSE" for name, _ in me.node.inbox) == 3)
    got = {f["id"]: f for name, f in me.node.inbox if name == "RESOURCE_RESPONSE"}
    ok(got[1]["status"] == 0 and V.from_hex(got[1]["data"]) == b"the file", "a file is served", got)
    ok(got[2]["status"] == 1 and got[3]["status"] in (1, 2), "others are not", got)
    ok([me.fate(n) for n in range(3)] == ["delivered"] * 3, "the requests are taken")
    ok(me.alive() and server.stop() == 0, "the server ends with 0")


def finding(folder):
    server = Server(folder)
    first = Client(server)
    me = Node(Identity())
    odd = V.field(1, b"what nobody knows yet")
    me.record = make_record(me.identity, f"0/127.0.0.1:{first.port.number}", role=2, capabilities=5,
                            more=odd)
    known = Client(server, me)
    first.wait(lambda: any(name == "PEER_LIST" for name, _ in first.node.inbox))
    told = [f["records"] for name, f in first.node.inbox if name == "PEER_LIST"]
    ok(told and me.record.hex() in told[-1].split(","),
       "a record that was new is passed on, byte for byte, with the field that nobody knows", told)
    third = Client(server)
    asked = 12
    for _ in range(asked):
        third.session.send("discover", NORMAL, max=64, capabilities=0)
    third.wait(lambda: len(lists(third)) == asked)
    ok(me.record.hex() in lists(third)[0], "DISCOVER is answered with it", third.node.inbox)
    ok(lists(third)[-1] == "none", "and asked again and again within a second, with none",
       lists(third))
    told = [verify_record(V.from_hex(r)) for r in lists(third)[0].split(",")]
    ok([t["key"] for t in told] == [me.identity.raw.hex()], "it is all that is told, and genuine", told)
    fourth = Client(server)
    fourth.session.send("discover", max=64, capabilities=8)
    fourth.wait(lambda: lists(fourth))
    ok(me.record.hex() not in lists(fourth)[0], "only those that can do what was asked for")
    for c in (first, known, third, fourth):
        c.bye()
    ok(server.stop() == 0, "the server ends with 0")


def lists(client):
    """What came in answer to DISCOVER: on its lane, NORMAL."""
    return [f["records"] for name, f in client.node.inbox if name == "PEER_LIST"
            and f["lane"] == NORMAL]


def reconnects(folder):
    server = Server(folder)
    me = Client(server)
    s = me.session
    one = s.send("transition", data=b"one".hex())
    ok(me.fate(one) == "delivered" and s.confirm["known"] == 0, "a message, and then")
    hello, held = s.hello, s.link.out.incarnation
    me.port.drop(s)
    two = s.send("transition", data=b"two".hex())  # written to nobody
    s = me_again(me)
    ok(s.up and s.hello == hello and s.confirm["known"] == held,
       "without goodbye, a new connection: the server knows the numbering", s.confirm)
    ok(s.confirm["incarnation"] == me.session.link.held, "and has its own still")
    ok(me.fate(two) == "delivered", "the message that was under way comes")
    s.lane_bytes(CRITICAL, frame("message", number=0, flags=0, kind=KIND["TRANSITION"],
                             body=b"once".hex()))
    s.link.out.lanes[CRITICAL].next, s.link.out.lanes[CRITICAL].told = 1, NEVER
    me.wait(lambda: len(server.told("message")) == 3)
    s.quic.close(0)
    me.wait(lambda: True)
    s = me_again(me)
    me.wait(lambda: s.got("ack"))
    acks = len(s.got("ack"))
    s.lane_bytes(CRITICAL, frame("message", number=0, flags=0, kind=KIND["TRANSITION"],
                             body=b"once".hex()))
    me.wait(lambda: [a for a in s.got("ack")[acks:] if a["lane"] == CRITICAL])
    again = [a for a in s.got("ack")[acks:] if a["lane"] == CRITICAL]
    ok(again and again[0]["taken"] == "1", "resent with its number: ACK again", s.frames)
    ok(me.alive(79) and len(server.told("message")) == 3, "and nothing else: it is a duplicate",
       server.told("message"))
    other = Client(server, Node(me.node.identity))
    ok(other.session.up and other.session.confirm["known"] == 0 and not s.closed,
       "another process with the same key is another link; both live")
    newer = me.node.dial(me.port, ("127.0.0.1", int(server.port)))
    me.wait(lambda: newer.up and s.closed)
    ok(newer.up and s.closed and s.closed[:2] == (CLOSE["REPLACED"], True),
       "a second connection of one process: the newer is kept, the other REPLACED", s.closed)
    other.bye()
    ok(server.stop() == 0, "the server ends with 0")


def restarted(folder):
    server = Server(folder)
    me = Client(server)
    s = me.session
    ok(me.fate(s.send("transition", data=b"one".hex())) == "delivered", "a message, and then")
    server.process.kill()
    server.end()
    me.port.drop(s)
    boot, two = s.hello["boot_id"], s.send("transition", data=b"two".hex())
    me.server = Server(folder)
    s = me_again(me)
    ok(s.up and s.confirm["known"] == 0 and s.hello["boot_id"] != boot,
       "a restarted server has another boot id and knows nothing", s.confirm)
    ok(me.fate(two) == "delivered" and me.server.wait("message")["sha256"] == sha256(b"two"),
       "numbers go on at base; what may have been taken before comes flagged REPEAT")
    ok(s.link.out.lanes[NORMAL].base() == 2, "two numbers are used")
    ok(me.server.stop() == 0, "the server ends with 0")


def too_large(folder):
    server = Server(folder, store=True)
    me = Client(server)
    s = me.session
    n = s.send("transition", data=(b"y" * LIMIT).hex())
    ok(me.fate(n) == "delivered", "max_message_size is delivered")
    for unordered in (False, True):
        n = s.send("transition", LOW, unordered, data=(b"x" * (LIMIT + 100)).hex())
        ok(me.fate(n, LOW) == "TOO_LARGE" and not s.closed,
           f"a message too large{', unordered' * unordered}: TOO_LARGE", s.closed)
    after = s.send("transition", LOW, data=b"after".hex())
    ok(me.fate(after, LOW) == "delivered" and me.alive(), "the connection lives, and so does the lane")
    ok(sorted(server.stored()) == sorted([sha256(b"after"), sha256(b"y" * LIMIT)]), "the store",
       server.stored())
    ok(server.stop() == 0, "the server ends with 0")


def silent(server):
    """A client whose handshake is over and that has said nothing yet; its session."""
    me = Client(server, mute=True)
    me.wait(lambda: me.session.quic.handshake_over and me.session.hello)
    return me, me.session


def bodies(folder):
    server = Server(folder, store=True)
    me = Client(server)
    s = me.session
    more, last, given_up = range(3)

    def part(number, what, offset, data=b"", length="unknown"):
        return me.fate(s.send("body", LOW, id=number, what=what, offset=offset, length=length,
                              data=V.to_hex(data)), LOW)
    texts = {1: (b"a" * 50000, b"b", b"c" * 90000), 2: (b"d" * 7, b"e" * 70000, b"f" * 800)}
    at = {1: 0, 2: 0}
    told = []
    for i in range(3):
        for number, pieces in texts.items():
            length = "unknown" if number == 1 else sum(map(len, pieces))
            told.append(part(number, last if i == 2 else more, at[number], pieces[i], length))
            at[number] += len(pieces[i])
    ok(told == ["delivered"] * 6, "two bodies by turns, the length of one told", told)
    ok(sorted(server.stored()) == sorted(sha256(b"".join(p)) for p in texts.values())
       and [m["kind"] for m in server.told("message")] == ["body"] * 2, "are stored whole",
       (server.stored(), server.told("message")))
    for what, fate, case in (
            ("the middle of a body that nobody has begun", "NO_BODY", (3, more, 5, b"x")),
            ("the end of one", "NO_BODY", (3, last, 5)),
            ("GIVEN_UP of one", "delivered", (3, given_up, 5)),
            ("a beginning", "delivered", (4, more, 0, b"12345", 10)),
            ("a gap", "MALFORMED", (4, more, 6, b"x", 10)),
            ("what would have come next", "NO_BODY", (4, last, 5, b"67890", 10)),
            ("another beginning", "delivered", (5, more, 0, b"12345", 10)),
            ("another length", "MALFORMED", (5, last, 5, b"67890", 11)),
            ("more than was said", "MALFORMED", (6, more, 0, b"123", 2)),
            ("the last byte, not as the last", "MALFORMED", (7, more, 0, b"12", 2)),
            ("an end too soon", "MALFORMED", (8, last, 0, b"1", 2)),
            ("2^62 bytes, or so it is said", "delivered", (9, more, 0, b"1", 2**62 - 2)),
            ("and then no more of them", "delivered", (9, given_up, 1, b"", 2**62 - 2)),
            ("a body of no bytes", "delivered", (10, last, 0, b"", 0))):
        told = part(*case)
        ok(told == fate, f"{what}: {fate}", (told, s.closed))
    for n in range(11, 11 + 64):
        part(n, more, 0, b"z")
    ok(part(99, more, 0, b"z") == "FULL", "the sixty-fifth open one: FULL", s.closed)
    ok(me.alive(), "the connection lives")
    me.bye()
    ok(server.wait("disconnected") and server.stop() == 0, "the server ends with 0")
    left = [n for n in os.listdir(server.store) if n.startswith(".")]
    ok(not left and len(server.stored()) == 3, "and nothing is left of what was not whole",
       (left, server.stored()))


def growing(folder):
    server = Server(folder)
    me, s = silent(server)
    # Unknown odd: a field of HELLO, of CONFIRM, frames of both kinds of stream, a stream.
    unknown = frame("unknown", type=0x41, body=b"whatever".hex())
    for data in s.hello_bytes(), s.confirm_bytes():
        reader = V.Reader(data)
        kind = reader.varint()
        s.control(V.varint(kind) + V.prefixed(reader.prefixed().rest() + V.field(99, b"odd")) + unknown)
    s.said_hello = s.said_confirm = True
    me.wait(lambda: s.confirm or s.closed)
    ok(s.confirm and not s.closed, "unknown odd fields and frames are skipped", s.closed)
    s.mute = False
    for told in s.got("message"):  # what the server has said meanwhile, such as DISCOVER
        s.link.lanes[told["lane"]].cover(told["number"], True)
    s.lane_bytes(NORMAL, unknown + frame("message", number=0, flags=0, kind=KIND["TRANSITION"],
                                         body=b"told".hex()) + unknown)
    ok(me.wait(lambda: server.told("message")), "in a lane too")
    odd = s.raw(V.varint(0x1235) + b"nobody knows")
    me.wait(lambda: odd in s.stopped or s.closed)
    ok(odd in s.stopped and not s.closed, "a stream of an unknown odd type: STOP_SENDING", s.closed)
    s.link.out.lanes[NORMAL].next = 1
    long = b"\xc0" + bytes(6)
    data = (long + b"\x20") + (long + bytes([24 + 1 + 4])) + (long + b"\x01") + (long + b"\x00") + \
        (long + b"\x06") + b" long"
    s.lane_bytes(NORMAL, data)
    ok(me.wait(lambda: len(server.told("message")) == 2) and
       server.told("message")[1]["sha256"] == sha256(b" long"), "varints in their longest form")
    open_ids = [s.raw(V.varint(UNORDERED) + V.varint(LOW)) for _ in range(8)]
    ok(me.alive() and open_ids, "streams that are opened and never finished disturb nobody")
    me.bye()
    ok(server.stop() == 0, "the server ends with 0")


def early(folder):
    server = Server(folder)
    me, s = silent(server)
    message = frame("message", number=0, flags=0, kind=KIND["TRANSITION"], body=b"early".hex())
    s.lane_bytes(NORMAL, message)
    me.port.flush()
    s.control(s.hello_bytes())
    ok(me.wait(lambda: s.confirm) and not server.told("message"),
       "bytes of a lane before the own CONFIRM are kept, and nothing is done with them")
    s.control(s.confirm_bytes())
    me.wait(lambda: server.told("message"))
    ok(server.wait("message")["sha256"] == sha256(b"early"), "until it is there")
    me.bye()
    me, s = silent(server)
    most = V.varint(LANE) + frame("message", number=0, flags=0, kind=KIND["TRANSITION"],
                                  body=(b"x" * 16384).hex())
    lane = s.raw(most[:16384])
    me.port.flush()
    s.control(s.hello_bytes())
    me.wait(lambda: s.confirm or s.closed)
    ok(s.confirm and not s.closed, "16,384 of them are taken", s.closed)
    s.control(s.confirm_bytes())
    s.quic.send_stream_data(lane, most[16384:])
    me.wait(lambda: len(server.told("message")) == 2)
    ok(server.told("message")[-1]["sha256"] == sha256(b"x" * 16384),
       "and are the beginning of a message")
    me.bye()
    ok(server.stop() == 0, "the server ends with 0")


run_all(coming_up, fates, declined, giving_up, asking, finding, reconnects, restarted, too_large, bodies,
        growing, early)
