#!/usr/bin/env python3
"""A peer that breaks the rules, over aioquic: each fault is answered with its close code, and the
server goes on serving those who keep them. TAP."""

import aioquic_here

aioquic_here.or_skip("faults of a handshake of tbq/1", "faults on an open connection", "streams",
                     "too much, too early, too late", "who is refused")

from against import Against  # noqa: E402
from cli_help import ok, run_all, write  # noqa: E402
from over_aioquic import Identity  # noqa: E402
from tbq1 import (CLOSE, CONTROL, KIND, LANE, UNORDERED, Node, V, frame, make_record,  # noqa: E402
                  now_ms)

STREAM_LIMIT_ERROR = 0x04  # RFC 9000, section 20.1


class Faults(Against):
    """One fault after the other, each on a connection of its own, beside one that keeps the rules."""

    def __init__(self, folder, *options):
        super().__init__(folder, *options)
        self.keeper = self.dial()
        self.loop.wait(lambda: self.keeper.up)

    def quiet(self, node=None):
        """A connection whose handshake is over, and that says nothing of tbq/1 by itself."""
        session = self.dial(node)
        session.mute = True
        self.loop.wait(lambda: session.quic.handshake_over and session.hello)
        return session

    def up(self, node=None):
        session = self.dial(node)
        self.loop.wait(lambda: session.up)
        session.mute = True
        return session

    def closes(self, what, session, code, ours=True):
        self.loop.wait(lambda: session.closed)
        want = (CLOSE[code] if ours else code, ours)
        ok(session.closed and session.closed[:2] == want, f"{what}: {code}", session.closed)

    def over(self):
        count = len(self.keeper.pongs)
        self.keeper.send("ping", 1, id=1, wall_ms=now_ms())
        self.loop.wait(lambda: len(self.keeper.pongs) > count or self.keeper.closed)
        ok(not self.keeper.closed and len(self.keeper.pongs) > count,
           "who kept the rules was not disturbed", self.keeper.closed)
        super().over()


def message(number, flags=0, kind=KIND["TRANSITION"], data="-"):
    return frame("message", number=number, flags=flags, kind=kind, body=data)


def unknown(kind, data=b"x"):
    return frame("unknown", type=kind, body=data.hex())


def ack(lane=0, below=0):
    return frame("ack", lane=lane, received=str(below), taken=str(below))


def raw_frame(kind, data):
    return V.varint(kind) + V.prefixed(data)


def bringing_up(folder):
    f = Faults(folder)
    me = Node()

    def hello(**more):
        fields = {0: b"\0", 2: me.boot_id, 4: V.varint(1 << 20), **more.pop("fields", {})}
        return raw_frame(0, b"".join(V.field(k, v) for k, v in sorted(fields.items())
                                     if v is not None))

    def confirm(**fields):
        """CONFIRM with fields of other values, left out when None: f0=..."""
        known = {0: bytes(7) + b"\1", 2: bytes(8), 4: bytes(4)}
        known.update({int(k[1:]): v for k, v in fields.items()})
        return raw_frame(2, b"".join(V.field(k, v) for k, v in sorted(known.items())
                                     if v is not None))

    forged = bytearray(make_record(me.identity))
    forged[40] ^= 1
    cases = [
        ("CONFIRM before HELLO", confirm(), "PROTOCOL"),
        ("an unknown odd frame before HELLO", unknown(0x41), "PROTOCOL"),
        ("HELLO twice", hello() + hello(), "PROTOCOL"),
        ("HELLO without a boot id", hello(fields={2: None}), "PROTOCOL"),
        ("HELLO with a boot id of 15 bytes", hello(fields={2: bytes(15)}), "PROTOCOL"),
        ("HELLO with an unknown even field", hello(fields={6: b""}), "VERSION"),
        ("HELLO with fields that do not rise", raw_frame(0, V.field(2, me.boot_id) +
                                                         V.field(0, b"\0") + V.field(4, b"\1")),
         "PROTOCOL"),
        ("HELLO with bytes left in a field", hello(fields={0: b"\0\0"}), "PROTOCOL"),
        ("an ACK between HELLO and CONFIRM", hello() + ack(), "PROTOCOL"),
        ("an unknown even frame between them", hello() + unknown(0x42), "PROTOCOL"),
        ("CONFIRM with the incarnation 0", hello() + confirm(f0=bytes(8)), "PROTOCOL"),
        ("CONFIRM without base", hello() + confirm(f4=None), "PROTOCOL"),
        ("CONFIRM with three bases", hello() + confirm(f4=bytes(3)), "PROTOCOL"),
        ("CONFIRM with port 0", hello() + confirm(f1=bytes(6)), "PROTOCOL"),
        ("CONFIRM with an address of 7 bytes", hello() + confirm(f1=bytes(5) + b"\1\1"), "PROTOCOL"),
        ("CONFIRM with another's record", hello() + confirm(f3=make_record(Identity())), "PROTOCOL"),
        ("CONFIRM with a forged record", hello() + confirm(f3=bytes(forged)), "PROTOCOL"),
        ("CONFIRM with a record of 1,025 bytes", hello() + confirm(f3=bytes(1025)), "PROTOCOL"),
        ("CONFIRM with an unknown even field", hello() + confirm(f6=b""), "VERSION"),
        ("CONFIRM twice", hello() + confirm() + confirm(), "PROTOCOL"),
        ("BUSY from a client", frame("busy", records="none"), "PROTOCOL"),
        ("a HELLO of 4,097 bytes", raw_frame(0, bytes(4097)), "LIMIT"),
        ("a MESSAGE on the control stream", hello() + confirm() + message(0), "PROTOCOL"),
    ]
    for what, data, code in cases:
        session = f.quiet(me)
        session.control(data)
        f.closes(what, session, code)
    f.over()


def on_control(folder):
    f = Faults(folder)
    cases = [
        ("ACK of what was not sent", ack(2, 9), "PROTOCOL"),
        ("ACK of lane 4", ack(4), "PROTOCOL"),
        ("ACK with 33 ranges", raw_frame(4, b"\0\0" + V.varint(33) + b"\1\1" * 33 + b"\0\0"),
         "PROTOCOL"),
        ("ACK with a gap of 0", raw_frame(4, b"\0\0\1\0\1\0\0"), "PROTOCOL"),
        ("ACK that ends early", raw_frame(4, b"\0\0"), "PROTOCOL"),
        ("ACK with a byte left", raw_frame(4, b"\0\0\0\0\0\0"), "PROTOCOL"),
        ("SKIP of nothing", raw_frame(6, b"\0\0"), "PROTOCOL"),
        ("SKIP of 65 numbers", raw_frame(6, b"\0" + V.varint(65) + b"\0" + b"\1" * 64), "PROTOCOL"),
        ("SKIP of a number twice", raw_frame(6, b"\0\2\1\0"), "PROTOCOL"),
        ("SKIP of a number 65,536 above", frame("skip", lane=0, numbers="65536"), "LIMIT"),
        ("DECLINED of what was not sent", frame("declined", lane=0, entries="5:0"), "PROTOCOL"),
        ("DECLINED of nothing", raw_frame(8, b"\0\0"), "PROTOCOL"),
        ("SETTLED of lane 4", frame("settled", lane=4, below=0), "PROTOCOL"),
        ("a REST that ends early", raw_frame(13, b"\1\2"), "PROTOCOL"),
        ("a REST with an even field", raw_frame(13, b"\2\0"), "VERSION"),
        ("an unknown even frame", unknown(0x42), "VERSION"),
        ("a reserved frame of even type", unknown(0x40), "VERSION"),
        ("an unknown odd frame of 4,097 bytes", unknown(0x43, bytes(4097)), "LIMIT"),
        ("an ELSEWHERE on the control stream", frame("elsewhere", number=0), "PROTOCOL"),
        ("a HELLO behind CONFIRM", lambda s: s.hello_bytes(), "PROTOCOL"),
        ("BUSY behind HELLO", frame("busy", records="none"), "PROTOCOL"),
    ]
    for what, data, code in cases:
        session = f.up()
        session.control(data(session) if callable(data) else data)
        f.closes(what, session, code)
    f.over()


def on_streams(folder):
    f = Faults(folder)

    def lane(*frames, end=False):
        return lambda s: s.lane_bytes(0, b"".join(frames), end)

    def alone(data, end=True):
        return lambda s: s.raw(V.varint(UNORDERED) + data, end)

    def reset(stream):
        return lambda s: (s.control(b""), s.lane_bytes(0, message(0)), f.port.flush(),
                          s.quic.reset_stream(s.control_id if stream == "control"
                                              else s.lane_ids[0], 0))

    def stop_control(s):
        f.loop.wait(lambda: s.got("message") or s.streams)
        s.quic.stop_stream(min(s.streams), 0)

    def bidirectional(s):
        s.quic._remote_max_streams_bidi = 1  # aioquic keeps to the limit that it was told
        s.quic._remote_max_stream_data_bidi_remote = 100
        s.quic.send_stream_data(0, b"x")

    cases = [
        ("a second control stream", lambda s: s.raw(V.varint(CONTROL)), "PROTOCOL"),
        ("a second stream of a lane", lambda s: (s.lane_bytes(0, message(0)),
                                                 s.raw(V.varint(LANE))), "PROTOCOL"),
        ("the end of the control stream", lambda s: s.control(b"", end=True), "PROTOCOL"),
        ("the end of a lane", lane(message(0), end=True), "PROTOCOL"),
        ("the end of a lane within a frame", lane(message(0)[:-1], end=True), "PROTOCOL"),
        ("a control stream that is reset", reset("control"), "PROTOCOL"),
        ("a lane that is reset", reset("lane"), "PROTOCOL"),
        ("STOP_SENDING for the control stream", stop_control, "PROTOCOL"),
        ("a stream of an unknown even type", lambda s: s.raw(V.varint(0x18)), "VERSION"),
        ("a stream of a long even type", lambda s: s.raw(V.varint(1 << 40)), "VERSION"),
        ("a stream that ends within its type", lambda s: s.raw(b"\x40", end=True), "PROTOCOL"),
        ("a stream that ends before its type", lambda s: s.raw(b"", end=True), "PROTOCOL"),
        ("an unordered message of lane 4", alone(b"\4" + message(0)), "PROTOCOL"),
        ("one that ends within its lane", alone(b""), "PROTOCOL"),
        ("one that ends within its frame", alone(b"\0" + message(0)[:-1]), "PROTOCOL"),
        ("two messages in it", alone(b"\0" + message(0) + message(1)), "PROTOCOL"),
        ("an unknown odd frame in it", alone(b"\0" + unknown(0x41)), "PROTOCOL"),
        ("an ELSEWHERE in it", alone(b"\0" + frame("elsewhere", number=0)), "PROTOCOL"),
        ("an ACK on a lane", lane(ack()), "PROTOCOL"),
        ("an unknown even frame on a lane", lane(unknown(0x42)), "VERSION"),
        ("an unknown flag", lane(message(0, 4)), "VERSION"),
        ("a number 65,536 above", lane(message(65536)), "LIMIT"),
        ("an ELSEWHERE 65,536 above", lane(frame("elsewhere", number=65536)), "LIMIT"),
        ("an unordered one 65,536 above", alone(b"\0" + message(65536)), "LIMIT"),
        ("the number 2^62 - 1", lane(message(2**62 - 1)), "PROTOCOL"),
        ("a MESSAGE without a kind", lane(raw_frame(0x20, b"\0\0")), "PROTOCOL"),
        ("a frame of 2^30 + 65 bytes", lane(V.varint(0x20) + V.varint(2**30 + 65)), "LIMIT"),
        ("an unknown odd frame of 2^30 + 65 bytes", lane(V.varint(0x41) + V.varint(2**30 + 65)),
         "LIMIT"),
    ]
    for what, run, code in cases:
        session = f.up()
        run(session)
        f.closes(what, session, code)
    session = f.up()
    bidirectional(session)
    f.closes("a bidirectional stream, QUIC's own limit", session, STREAM_LIMIT_ERROR, False)
    f.over()


def amounts(folder):
    f = Faults(folder)
    silent = f.quiet()
    half = f.quiet()
    half.control(half.hello_bytes())
    late = f.quiet()
    late.raw(V.varint(LANE) + raw_frame(0x41, bytes(20000))[:16385])
    f.closes("16,385 bytes of a lane, behind its type, before its CONFIRM", late, "LIMIT")
    self_node = Node()
    key = write_own_key(f, self_node)
    session = f.quiet(self_node)
    self_node.boot_id = V.from_hex(session.hello["boot_id"])
    session.control(session.hello_bytes())
    f.closes("its own key and boot id", session, "SELF")
    other = Node(key)
    session = f.dial(other)
    f.loop.wait(lambda: session.up or session.closed)
    ok(session.up and not session.closed, "its own key, with another boot id, is another process",
       session.closed)
    f.closes("no HELLO for 5 s", silent, "TIMEOUT")
    f.closes("no CONFIRM for 5 s", half, "TIMEOUT")
    f.over()


def write_own_key(f, node):
    """The identity of the server itself."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    with open(f.server.state + "/node.key", "rb") as file:
        node.identity = Identity(load_pem_private_key(file.read(), None))
    return node.identity


def refused(folder):
    bad, good = Node(), Node()
    deny = write(folder + "/deny", bad.identity.text + "\n")
    f = Faults(folder, "--deny", deny)
    f.closes("on the deny list", f.dial(bad), "DENIED")
    ok(bad.sessions[0].confirm is None, "before that, no CONFIRM came")
    f.over()
    allow = write(folder + "/allow", good.identity.text + "\n")
    allowing = Against(folder + "/allowing", "--trust", "allow:" + allow)
    no, yes = allowing.dial(), allowing.dial(good)
    allowing.wait(lambda: no.closed and yes.up)
    ok(no.closed and no.closed[:2] == (CLOSE["NOT_ALLOWED"], True), "not on the allow list: NOT_ALLOWED",
       no.closed)
    ok(yes.up and not yes.closed, "who is on it is let in", yes.closed)
    ok(allowing.server.stop() == 0, "the server ends with 0", allowing.server.err)


run_all(bringing_up, on_control, on_streams, amounts, refused)
