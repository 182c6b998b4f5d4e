#!/usr/bin/env python3
"""Certificates, versions and packets that nobody should send, over aioquic, to `tbq server` and to
`tbq client`: each has the outcome that docs/protocol.md says, and honest ones are served. TAP."""

import datetime
import os
import signal
import socket
import time

import aioquic_here

aioquic_here.or_skip("certificates of clients", "certificates of servers", "ALPN names",
                     "versions of QUIC", "key updates", "sessions", "packets", "streams")

from against import Against  # noqa: E402
from cli_help import Process, ok, run_all, sha256, write  # noqa: E402
from over_aioquic import (ALPN, CRYPTO_ERROR, FIRST, LAST, OWN_NAME, V1, V2, WANTED_NAME,  # noqa: E402
                          Buffer, Identity, Loop, Plain, Port, Quic, ecdsa_key, pull_quic_header,
                          rsa_key, settings)
from tbq1 import (CLOSE, CRITICAL, KIND, LOW, NORMAL, UNORDERED, Node, V, frame, now_ms)  # noqa: E402

NOW = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
DAY = datetime.timedelta(days=1)
NO_APPLICATION_PROTOCOL = CRYPTO_ERROR + 120
UNKNOWN_VERSION = 0x1A2A3A4A  # of the form that RFC 9000, section 15, keeps for this
STREAM_LIMIT_ERROR = 0x04
# What the alerts of section 2 and the codes of section 13 say alike.
SAYS = {"no certificate": ((116,), "NO_CERTIFICATE"), "key type": ((43, 47), "KEY_TYPE"),
        "validity": ((45,), "CERTIFICATE")}


class Forced(Quic):
    """Signs with the key that it has, whatever the other side asked for, and says so."""

    force_signature = OWN_NAME


class Disguised(Quic):
    """The same, and calls it Ed25519."""

    force_signature = WANTED_NAME


class World(Against):
    """With connections that come as they like."""

    def come(self, identity=None, make=Quic, **more):
        quic = make(configuration=settings(True, identity, **more))
        return self.port.dial(self.address, Node().session(quic), quic)

    def ended(self, session):
        self.wait(lambda: session.closed or session.up)
        return session.closed


def said(closed, what):
    """Whether an end is one of the ways to say it."""
    alerts, code = SAYS[what]
    return closed and closed[:2] in [*((CRYPTO_ERROR + a, False) for a in alerts),
                                     (CLOSE[code], True)]


def clients(folder):
    world = World(folder)
    cases = [
        ("no certificate", None, Quic, "no certificate"),
        ("an RSA key, which it does not take", Identity(rsa_key()), Quic, "no certificate"),
        ("an ECDSA key, which it does not take", Identity(ecdsa_key()), Quic, "no certificate"),
        ("an RSA key all the same", Identity(rsa_key()), Forced, "key type"),
        ("an ECDSA key all the same", Identity(ecdsa_key()), Forced, "key type"),
        ("an ECDSA key, called Ed25519", Identity(ecdsa_key()), Disguised, "key type"),
        ("a certificate that has expired", Identity(first=FIRST, last=NOW - DAY), Quic, "validity"),
        ("one that is not valid yet", Identity(first=NOW + DAY, last=LAST), Quic, "validity"),
    ]
    for what, identity, make, answer in cases:
        session = world.come(identity, make)
        closed = world.ended(session)
        ok(said(closed, answer), f"a client with {what}: {answer}", closed)
        ok(session.confirm is None, "and has no CONFIRM")
    ok(not world.server.told("connected"), "none of them was told as connected", world.server.lines)
    world.over()


def listen(loop, identity, make=Quic, **more):
    node = Node()
    sessions = []

    def accept(quic):
        sessions.append(node.session(quic))
        return sessions[-1]
    return sessions, Port(loop, accept, identity, make=make, **more)


def refuses(what, words, sessions, port, answer=None):
    """tbq client dials a port of aioquic: exit 1, and its error has one of the words."""
    client = Process("client", f"127.0.0.1:{port.number}")
    loop = port.loop
    loop.wait(lambda: client.process.poll() is not None)
    code = client.end()
    text = client.told("error")[-1]["text"] if client.told("error") else ""
    ok(code == 1 and any(w in text for w in words) and not client.told("connected", "pong"),
       f"a server with {what}: exit 1, and told why", (code, client.lines, client.err))
    if answer:
        loop.wait(lambda: sessions[-1].closed)
        ok(said(sessions[-1].closed, answer), f"the server is told too: {answer}", sessions[-1].closed)
    port.close()


def servers(_):
    loop = Loop()
    key_words = ["Illegal parameter", "Ed25519"]
    refuses("an RSA key", ["Handshake failed"], *listen(loop, Identity(rsa_key())))
    refuses("an ECDSA key", ["Handshake failed"], *listen(loop, Identity(ecdsa_key())))
    for what, key, make in (("an RSA key all the same", rsa_key(), Forced),
                            ("an ECDSA key all the same", ecdsa_key(), Forced),
                            ("an ECDSA key, called Ed25519", ecdsa_key(), Disguised)):
        refuses(what, key_words, *listen(loop, Identity(key), make), "key type")
    refuses("a certificate that has expired", ["expired", "valid"],
            *listen(loop, Identity(first=FIRST, last=NOW - DAY)), "validity")
    refuses("one that is not valid yet", ["not yet", "valid"],
            *listen(loop, Identity(first=NOW + DAY, last=LAST)), "validity")
    _, port = listen(loop, Identity())
    client = Process("client", f"127.0.0.1:{port.number}")
    loop.wait(lambda: client.process.poll() is not None)
    ok(client.end() == 0 and client.told("pong"), "an honest server is talked to", client.lines)


def names(folder):
    world = World(folder)
    for what, alpn in (("another ALPN name", ["h3"]), ("a longer one", ["tbq/10"]),
                       ("no ALPN name", None)):
        session = world.come(Identity(), alpn_protocols=alpn)
        closed = world.ended(session)
        ok(closed and closed[:2] == (NO_APPLICATION_PROTOCOL, False),
           f"{what}: no_application_protocol", closed)
    session = world.come(Identity(), alpn_protocols=["h3", ALPN], server_name="another.example")
    world.wait(lambda: session.up or session.closed)
    ok(session.up and session.quic.tls.alpn_negotiated == ALPN,
       "one among others, and a server name that says nothing: up", session.closed)
    world.over()
    loop = Loop()
    for what, alpn in (("another ALPN name", ["h3"]), ("no ALPN name", None)):
        refuses(what, ["ALPN", "pplication protocol", "Handshake failed"],
                *listen(loop, Identity(), alpn_protocols=alpn))


def initial(version, size=1200):
    """What begins as an Initial packet of some version, its rest of no meaning."""
    head = b"\xc0" + version.to_bytes(4, "big") + b"\x08" + b"01234567" + b"\x08" + b"76543210"
    return head.ljust(size, b"\0")


def versions(folder):
    world = World(folder)
    probe = Port(world.loop)
    probe.socket.sendto(initial(UNKNOWN_VERSION), world.address)
    world.wait(lambda: probe.other)
    header = pull_quic_header(Buffer(data=probe.other[0]))
    ok(header.version == 0 and header.destination_cid == b"76543210" and
       header.source_cid == b"01234567" and {V1, V2} <= set(header.supported_versions),
       "an unknown version: Version Negotiation lists v1 and v2", header)
    probe.other.clear()
    probe.socket.sendto(initial(UNKNOWN_VERSION, 1199), world.address)
    probe.socket.sendto(initial(0), world.address)
    probe.socket.sendto(initial(UNKNOWN_VERSION), world.address)
    world.wait(lambda: [d for d in probe.other if d[0] & 0x80])
    ok(len([d for d in probe.other if d[0] & 0x80]) == 1,
       "a packet too short, and a Version Negotiation, are not answered with one", probe.other)
    two = world.come(Identity(), supported_versions=[V2])
    world.wait(lambda: two.up or two.closed)
    ok(two.up and two.quic._version == V2, "QUIC version 2 is spoken", two.closed)
    two.send("transition", data=b"by version 2".hex())
    ok(world.wait(lambda: two.fate(NORMAL, 0)) == "delivered", "and delivers")
    both = world.come(Identity(), supported_versions=[V2, V1], original_version=V1)
    world.wait(lambda: both.up or both.closed)
    ok(both.up and both.quic._version in (V1, V2),
       f"who prefers 2 and begins with 1 gets {both.quic._version:#x}", both.closed)
    world.over()
    loop = Loop()
    node = Node()
    port = Port(loop, node.session, node.identity, supported_versions=[V1, V2])
    client = Process("client", f"127.0.0.1:{port.number}")
    loop.wait(lambda: client.process.poll() is not None)
    ok(client.end() == 0, "tbq client talks to a server of both versions", client.lines)
    only = Refusing(loop)
    client = Process("client", f"127.0.0.1:{only.number}", "--timeout", "1500")
    loop.wait(lambda: client.process.poll() is not None)
    text = client.told("error")[-1]["text"] if client.told("error") else ""
    ok(client.end() == 1 and only.asked, "a server that knows other versions only: exit 1",
       (text, client.lines, client.err))


class Refusing(Port):
    """Answers all with Version Negotiation for a version that nobody knows."""

    asked = 0

    def _owner(self, data, sender):
        header = pull_quic_header(Buffer(data=data), host_cid_length=8)
        self.asked += 1
        self.socket.sendto(b"\xc0" + bytes(4) + V.prefixed(header.source_cid) +
                           V.prefixed(header.destination_cid) +
                           UNKNOWN_VERSION.to_bytes(4, "big"), sender)


def update_keys(loop, session):
    """And waits until they are in use both ways, and three probe timeouts more: before that the other
    side need not be ready for another update (RFC 9001, section 6.5)."""
    session.quic.request_key_update()
    ping = session.send("ping", CRITICAL, id=1, wall_ms=now_ms())
    loop.wait(lambda: session.fate(CRITICAL, ping) or session.closed)
    at = time.monotonic() + 3 * session.quic._loss.get_probe_timeout()
    loop.wait(lambda: time.monotonic() >= at or session.closed)
    return session.fate(CRITICAL, ping)


def key_updates(folder):
    world = World(folder)
    session = world.dial()
    world.wait(lambda: session.up)
    texts = [os.urandom(200000) for _ in range(6)]
    for text in texts:
        session.send("transition", data=text.hex())
    for turn in range(3):
        world.wait(lambda: session.fate(NORMAL, turn))
        update_keys(world.loop, session)
    world.wait(lambda: len(session.link.out.lanes[NORMAL].fates) == 6 or session.closed)
    ok([session.fate(NORMAL, n) for n in range(6)] == ["delivered"] * 6,
       "new keys three times within a transfer, asked for by the client", session.closed)
    ok(sorted(world.server.stored()) == sorted(map(sha256, texts)), "all of it is right")
    world.over()
    loop = Loop()
    node = Node()
    node.take = False  # it does not end before we like
    port = Port(loop, node.session, node.identity)
    path = write(folder + "/lines", "".join(f"line {i} of many\n" for i in range(3000)))
    client = Process("client", f"127.0.0.1:{port.number}", "--lines", "--send", path)
    told = []

    def live():  # where we are slow, tbq dials a fresh connection, and ends one of the two
        return [s for s in node.sessions if s.up and not s.closed][-1]

    for many in (10, 200, 400):
        loop.wait(lambda: len(node.inbox) >= many)
        told.append(update_keys(loop, live()) or update_keys(loop, live()))
    node.take = True
    for name, message in node.inbox:
        if name == "TRANSITION":
            live().take(message["lane"], message["number"])
    loop.wait(lambda: client.process.poll() is not None)
    ok(client.end() == 0 and len(client.told("delivered")) == 3000 and told == ["delivered"] * 3,
       "and by the server, under tbq client", (told, client.lines[-1], client.err))


def sessions(folder):
    mine = Identity()
    deny = write(folder + "/deny", "# nobody\n")
    world = World(folder, "--deny", deny)
    tickets = []

    def dial(ticket=None, identity=mine):
        quic = Quic(configuration=settings(True, identity, session_ticket=ticket),
                    session_ticket_handler=tickets.append)
        quic.session_key = ticket and first.peer_key
        return world.port.dial(world.address, Node(identity).session(quic), quic)

    first = dial()
    world.wait(lambda: first.up and tickets)
    ok(first.up and tickets, "a session ticket is given", first.closed)
    ok(not tickets[0].max_early_data_size, "without 0-RTT", tickets[0].max_early_data_size)
    again = dial(tickets[0])
    world.wait(lambda: again.up or again.closed)
    ok(again.up and again.quic.tls.session_resumed, "it resumes: up", again.closed)
    world.wait(lambda: len(world.server.told("connected")) == 2)
    connected = world.server.told("connected")
    ok([c["peer_id"] for c in connected] == [mine.text] * 2, "as the same peer", connected)
    write(deny, mine.text + "\n")
    world.server.signal(signal.SIGHUP)
    world.wait(lambda: world.server.told("reloaded"))
    world.wait(lambda: again.closed)
    third = dial(tickets[0])
    closed = world.ended(third)
    ok(third.quic.tls.session_resumed and closed and closed[:2] == (CLOSE["DENIED"], True),
       "trust is asked again: a ticket of who is denied since does not help", closed)
    bare = World(folder + "/bare")
    got = []
    quic = Quic(configuration=settings(True, alpn_protocols=["h3"]), session_ticket_handler=got.append)
    session = bare.port.dial(bare.address, Plain(quic), quic)
    bare.wait(lambda: session.quic.closed)
    ok(not got, "nobody gets a ticket for another ALPN name")
    bare.over()
    world.over()


def packets(folder):
    world = World(folder)
    kept = world.dial()
    world.wait(lambda: kept.up)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(world.address)
        for data in [b"", *(bytes([b]) for b in range(256)), b"\x40" * 20, b"\xc0" * 1200,
                     b"\x3f" * 1200, b"\0" * 65507, os.urandom(1200), initial(V1), initial(V2),
                     initial(V1, 1199), initial(V1, 65507), initial(UNKNOWN_VERSION, 8)]:
            s.send(data)
    # And from the address of a connection that is up.
    for data in [b"", *(bytes([b]) for b in range(256)), os.urandom(1200), b"\x40" * 65507]:
        world.port.socket.sendto(data, world.address)
    kept.send("transition", data=b"after all that".hex())
    ok(world.wait(lambda: kept.fate(NORMAL, 0) or kept.closed) == "delivered",
       "empty ones, of one byte, of 65,507, of noise: a connection goes on", kept.closed)
    # Frames of QUIC that are larger than the packet that holds them, or none at all.
    for what, data in (("a STREAM frame longer than its packet", b"\x0a\x02\x7f\xffx"),
                       ("a frame of an unknown type", b"\x21"), ("no frame", b"")):
        bad = world.dial()
        world.wait(lambda: bad.up)
        raw_packet(world, bad, data)
        world.wait(lambda: bad.closed)
        ok(bad.closed and not bad.closed[1] and bad.closed[0] in (0x07, 0x0A),
           f"{what}: FRAME_ENCODING_ERROR or PROTOCOL_VIOLATION", bad.closed)
    world.over()


def raw_packet(world, session, payload):
    """A 1-RTT packet, properly encrypted, around bytes that need not be frames."""
    from aioquic import tls
    quic = session.quic
    number = quic._packet_number + 1
    quic._packet_number = number
    pair = quic._cryptos[tls.Epoch.ONE_RTT]
    first = 0x43 | (pair.key_phase << 2)
    header = bytes([first]) + quic._peer_cid.cid + number.to_bytes(4, "big")
    world.port.socket.sendto(pair.encrypt_packet(header, payload, number), world.address)


def streams(folder):
    world = World(folder)
    session = world.dial()
    world.wait(lambda: session.up)
    room = session.quic._remote_max_streams_uni - session.quic.next_uni // 4
    session.send("transition", LOW, data=b"first".hex())
    for i in range(room - 1):
        session.raw((V.varint(UNORDERED) + V.varint(NORMAL) + V.varint(0x20) + V.varint(1000))[:i % 5])
    session.send("transition", LOW, data=b"second".hex())
    world.wait(lambda: session.fate(LOW, 1) or session.closed)
    ok(session.fate(LOW, 1) == "delivered",
       f"{room - 1} streams that never end leave the lanes alone", session.closed)
    session.quic._remote_max_streams_uni += 1  # aioquic keeps to the limit that it was told
    session.raw(b"\0")
    world.wait(lambda: session.closed)
    ok(session.closed and session.closed[:2] == (STREAM_LIMIT_ERROR, False),
       "one more: STREAM_LIMIT_ERROR", session.closed)
    other = world.dial()
    world.wait(lambda: other.up)
    for _ in range(3 * other.quic._remote_max_streams_uni):
        stream = other.raw(V.varint(0x101))
        world.wait(lambda: stream in other.stopped or other.closed)
    other.send("ping", 1, id=4, wall_ms=now_ms())
    ok(world.wait(lambda: 4 in other.pongs or other.closed) and not other.closed,
       "streams of unknown odd types are refused one by one, and make room", other.closed)
    empty = world.dial()
    world.wait(lambda: empty.up)
    for _ in range(20):
        empty.lane_bytes(NORMAL, b"")
        world.port.flush()
    data = frame("message", number=0, flags=0, kind=KIND["TRANSITION"], body=b"crumbs".hex())
    for byte in data:
        empty.lane_bytes(NORMAL, bytes([byte]))
        world.port.flush()
    ok(world.wait(lambda: [m for m in world.server.told("message")
                           if m["sha256"] == sha256(b"crumbs")]), "empty STREAM frames, and of one byte")
    world.over()


run_all(clients, servers, names, versions, key_updates, sessions, packets, streams)
