"""tbq/1 over aioquic: a second implementation, written from docs/protocol.md alone.

The codec is that of tests/vectors/check_vectors.py, which is from the same text. A Node has an
identity and a boot id, a Link outlives its connections, a Session is one connection. A test drives
it through send(), and looks at what is kept: frames, inbox, fates. What a test wants to send against
the rules it sends with raw(), control() and lane_bytes().

Left out, as the other side cannot see it: priority among the own streams; stream credit that waits
for the application (aioquic gives it back when bytes arrive).
"""

import hashlib
import os
import time

from aioquic.quic import events
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

import check_vectors as V
from over_aioquic import Identity, Plain, Quic, settings

CONTROL, UNORDERED, ASIDE = 0x00, 0x02, 0x06
LANE = 0x10
CRITICAL, HIGH, NORMAL, LOW = range(4)
REPEAT, SKIPPABLE = 1, 2
CLOSE = V.CODES["close"]
KIND = V.CODES["kind"]
REASON = {number: name for name, number in V.CODES["decline"].items()}
DECLINE = V.CODES["decline"]
RECORD_DOMAIN = b"tbq/1 peer record\0"


def now_ms():
    return int(time.time() * 1000)


def frame(name, **fields):
    return V.write_frame({"frame": name, **fields})


def body(kind, **fields):
    return V.write_kind({"kind": kind, **fields})


# --- peer records (section 11) -----------------------------------------------------------------


def make_record(identity, *addresses, sequence=None, role=0, capabilities=0, more=b""):
    """addresses: `0/192.0.2.1:8443`; more: fields."""
    bare = V.write_record({"key": identity.raw.hex(), "sequence": sequence or now_ms(), "role": role,
                           "capabilities": capabilities, "addresses": V.join_list(addresses),
                           "signature": "-"}) + more
    return bare + identity.key.sign(RECORD_DOMAIN + bare)


def verify_record(record):
    """What a record says; raises when its form or signature is wrong."""
    reader = V.Reader(record)
    out = V.read_record(reader)
    reader.finish()
    key = Ed25519PublicKey.from_public_bytes(V.from_hex(out["key"]))
    key.verify(record[-64:], RECORD_DOMAIN + record[:-64])
    return out


# --- sets of numbers (section 7.1) ---------------------------------------------------------------


class Numbers:
    """All numbers below `below`, and some above."""

    def __init__(self, below=0):
        self.below, self.above = below, set()

    def __contains__(self, number):
        return number < self.below or number in self.above

    def add(self, *numbers):
        self.above.update(numbers)
        while self.below in self.above:
            self.below += 1
        self.above = {n for n in self.above if n >= self.below}

    def raise_to(self, below):
        self.below = max(self.below, below)
        self.add()

    def text(self):
        """As the codec wants it: `BELOW;FROM+COUNT...`, the 32 lowest ranges."""
        ranges = []
        for n in sorted(self.above):
            if ranges and n == sum(ranges[-1]):
                ranges[-1][1] += 1
            else:
                ranges.append([n, 1])
        return ";".join([str(self.below), *(f"{a}+{c}" for a, c in ranges[:32])])

    def add_text(self, text):
        below, *ranges = text.split(";")
        self.raise_to(int(below))
        for item in ranges:
            start, count = map(int, item.split("+"))
            self.add(*range(start, start + count))


# --- both directions of a lane ------------------------------------------------------------------


class Outgoing:
    """One lane of a numbering: what was sent, and its fates."""

    def __init__(self):
        self.next = 0
        self.messages = {}  # number: Message, without a fate yet
        self.received = Numbers()
        self.fates = {}  # number: "delivered", "unknown" or the reason of a decline
        self.declined = False  # one is settled since the last SETTLED
        self.told = 0

    def unsettled(self):
        return min(self.messages, default=self.next)

    def base(self):
        return min((n for n in self.messages if n not in self.received), default=self.next)

    def settle(self, number, fate):
        if self.messages.pop(number, None):
            self.fates[number] = fate


class Message:
    def __init__(self, lane, number, kind, data, flags, unordered):
        self.lane, self.number, self.kind, self.data = lane, number, kind, data
        self.flags, self.unordered = flags, unordered
        self.written = False  # on an earlier connection

    def bytes(self):
        return frame("message", number=self.number, flags=self.flags, kind=self.kind,
                     body=V.to_hex(self.data))


class Incoming:
    """One lane as its receiver sees it."""

    def __init__(self, base=0):
        self.received, self.taken = Numbers(base), Numbers(base)
        self.order = base  # the lowest number that is waited for
        self.early = {}  # number: what waits for its turn
        self.elsewhere = set()  # unordered ones, which are not waited for
        self.declined = {}  # number: reason, until SETTLED
        self.news = False

    def cover(self, number, taken):
        self.received.add(number)
        if taken:
            self.taken.add(number)
        self.news = True


class Link:
    """What a node keeps for one peer id and boot id; `out` goes with the peer id alone."""

    def __init__(self, out):
        self.out = out
        self.held = 0  # the peer's incarnation that there is receiving state for
        self.confirmed = False  # that state counts as held (section 8, step 1)
        self.lanes = [Incoming() for _ in range(4)]


class Numbering:
    """One side's numbers towards one peer id, with their incarnation."""

    def __init__(self):
        self.incarnation = int.from_bytes(os.urandom(8), "big") or 1
        self.lanes = [Outgoing() for _ in range(4)]


class Node:
    """`take`: whether a message is taken as soon as it is there; `acknowledge`: whether anybody is
    told what is received; `serve(data)` answers requests with
    (status, bytes); `records` is what DISCOVER is answered with; `take_bodies`: whole bodies come
    into the inbox as ("WHOLE", their bytes)."""

    max_message_size = 1 << 20

    def __init__(self, identity=None, boot_id=None):
        self.identity = identity or Identity()
        self.boot_id = boot_id or os.urandom(16)
        self.numberings, self.links = {}, {}
        self.sessions = []
        self.inbox = []  # (kind's name, its fields)
        self.take, self.acknowledge, self.serve, self.records = True, True, None, []
        self.take_bodies = True
        self.bodies = {}  # (session's link, id): length and bytes so far
        self.record = None

    def link(self, peer_id, boot_id):
        out = self.numberings.setdefault(peer_id, Numbering())
        return self.links.setdefault((peer_id, boot_id), Link(out))

    def session(self, quic=None):
        session = Session(self, quic)
        self.sessions.append(session)
        return session

    def dial(self, port, address, make=Quic, **more):
        quic = make(configuration=settings(True, self.identity, **more))
        return port.dial(address, self.session(), quic)


class Session(Plain):
    """One connection. `mute` leaves out what it would say by itself: then the test says it."""

    def __init__(self, node, quic=None):
        super().__init__(quic)
        self.node = node
        self.mute = False
        self.streams = {}  # id: (bytes not used yet, type, lane)
        self.control_id = None
        self.lane_ids = {}
        self.hello = self.confirm = self.link = None
        self.said_hello = self.said_confirm = False
        self.frames = []  # control frames, and those of lanes with their "lane"
        self.stopped = set()  # own streams that the peer asked to stop
        self.observed = None  # the peer's address, for CONFIRM
        self.pongs = []

    # what arrives

    def turn(self):
        while (event := self.quic.next_event()) is not None:
            self.events.append(event)
            if isinstance(event, events.StreamDataReceived):
                self._stream(event.stream_id, event.data, event.end_stream)
            elif isinstance(event, events.StopSendingReceived):
                self.stopped.add(event.stream_id)

    def _stream(self, stream_id, data, end):
        had, kind, lane = self.streams.get(stream_id, (b"", None, None))
        had += data
        if kind is None:
            kind, lane, had = self._prologue(had)
        self.streams[stream_id] = had, kind, lane
        if kind is not None and (kind == CONTROL or self.confirm):
            self._frames(stream_id)
        if kind == CONTROL and self.confirm:
            for other, (_, kind, _) in list(self.streams.items()):
                if kind is not None and kind != CONTROL:
                    self._frames(other)

    @staticmethod
    def _prologue(data):
        try:
            kind = V.Reader(data[:1]).varint()
            if kind in (UNORDERED, ASIDE):
                return kind, V.Reader(data[1:2]).varint(0, 3), data[2:]
            return kind, (kind - LANE) // 2 if kind >= LANE else None, data[1:]
        except V.Wrong:
            return None, None, data

    def _frames(self, stream_id):
        data, kind, lane = self.streams[stream_id]
        reader = V.Reader(data)
        used = 0
        while True:
            try:
                reader.varint()
                reader.take(reader.varint())
            except V.Wrong:
                break
            got = V.read_frame(V.Reader(data[used:reader.at]))
            used = reader.at
            self.streams[stream_id] = data[used:], kind, lane
            self._frame({**got, "lane": lane} if kind != CONTROL else got, kind)

    def _frame(self, got, stream):
        self.frames.append(got)
        name = got["frame"]
        if self.link and name != "confirm":
            self.link.confirmed = True
        handler = getattr(self, "_on_" + name, None)
        if handler and not (self.mute and name not in ("hello", "confirm")):
            handler(got, stream)

    def _on_hello(self, got, _):
        self.hello = got

    def _on_confirm(self, got, _):
        self.confirm = got
        if got["record"] != "none":
            said = verify_record(V.from_hex(got["record"]))
            assert V.from_hex(said["key"]) == self.peer_key, "the record is not of the peer's key"
        if self.mute:
            return
        self._say_confirm()  # nothing else goes before it
        link = self.link
        if link.held != got["incarnation"]:  # as a receiver: begin anew
            link.held, link.confirmed = got["incarnation"], False
            link.lanes = [Incoming(int(n)) for n in got["base"].split(",")]
        else:
            for lane, incoming in enumerate(link.lanes):
                self._tell_declined(lane)
                incoming.news = incoming.received.below > 0 or bool(incoming.received.above)
        self._resend(got["known"] == link.out.incarnation)

    def _resend(self, known):
        for out in self.link.out.lanes:
            for number in sorted(out.messages):
                message = out.messages[number]
                if not known and number in out.received:
                    out.settle(number, "unknown")
                elif number not in out.received:
                    if not known and message.written:
                        message.flags |= REPEAT
                    self._write(message)
            if not known:
                out.received = Numbers(out.base())

    def _on_ack(self, got, _):
        out = self.link.out.lanes[got["lane"]]
        taken = Numbers()
        taken.add_text(got["taken"])
        out.received.add_text(got["received"])
        out.received.add_text(got["taken"])
        for number in [n for n in out.messages if n in taken]:
            out.settle(number, "delivered")

    def _on_declined(self, got, _):
        out = self.link.out.lanes[got["lane"]]
        for item in got["entries"].split(","):
            number, reason = map(int, item.split(":"))
            out.declined |= number in out.messages
            out.settle(number, REASON.get(reason, reason))

    def _on_settled(self, got, _):
        incoming = self.link.lanes[got["lane"]]
        incoming.declined = {n: r for n, r in incoming.declined.items() if n >= got["below"]}
        for numbers in (incoming.received, incoming.taken):
            numbers.raise_to(got["below"])
        self._release(got["lane"])

    def _on_skip(self, got, _):
        for number in map(int, got["numbers"].split(",")):
            incoming = self.link.lanes[got["lane"]]
            if number in incoming.declined:
                self._decline(got["lane"], number, incoming.declined[number])
            elif number not in incoming.received:
                self._decline(got["lane"], number, DECLINE["SKIPPED"])
            self._release(got["lane"])

    def _release(self, lane):
        """Hands over what has waited for its turn."""
        incoming = self.link.lanes[lane]
        while incoming.order in incoming.received or incoming.order in incoming.elsewhere:
            if incoming.order in incoming.early:
                self._handle(lane, incoming.order, *incoming.early.pop(incoming.order))
            incoming.order += 1

    def _on_elsewhere(self, got, _):
        self.link.lanes[got["lane"]].elsewhere.add(got["number"])
        self._release(got["lane"])

    def _on_message(self, got, stream):
        lane, number = got["lane"], got["number"]
        incoming = self.link.lanes[lane]
        if number in incoming.received:
            incoming.news = True  # a duplicate: ACK again, and nothing else
            return
        name = next((n for n, k in KIND.items() if k == got["kind"]), None)
        data = V.from_hex(got["body"])
        if len(data) > self.node.max_message_size + 64:
            self._decline(lane, number, DECLINE["TOO_LARGE"])
        elif name is None and not got["flags"] & SKIPPABLE:
            self._decline(lane, number, DECLINE["UNKNOWN_KIND"])
        elif stream == UNORDERED:
            self._handle(lane, number, name, data, got["flags"])
        else:
            incoming.early[number] = name, data, got["flags"]
            incoming.cover(number, False)
        self._release(lane)

    def _body(self, part):
        """A part of a body; why it is declined, or None."""
        key = self.link, part["id"]
        more, last, given_up = range(3)
        if part["what"] == given_up:
            self.node.bodies.pop(key, None)
            return None
        if not self.node.take_bodies:
            return "NOT_SERVED"
        if key not in self.node.bodies:
            if part["offset"]:
                return "NO_BODY"
            self.node.bodies[key] = part["length"], bytearray()
        length, had = self.node.bodies[key]
        fits = part["offset"] == len(had) and part["length"] == length
        had += V.from_hex(part["data"])
        if length != "unknown":
            fits = fits and (len(had) == length if part["what"] == last else len(had) < length)
        if not fits or part["what"] == last:
            del self.node.bodies[key]
        if fits and part["what"] == last:
            self.node.inbox.append(("WHOLE", bytes(had)))
        return None if fits else "MALFORMED"

    def _handle(self, lane, number, name, data, flags):
        fields = {}
        if name:
            try:
                fields = V.read_kind(V.Reader(data), name.lower())
            except V.Wrong as wrong:
                reason = "UNKNOWN_KIND" if str(wrong) == "UNSUPPORTED" else "MALFORMED"
                self._decline(lane, number, DECLINE[reason])
                return
        if name == "RESOURCE_REQUEST" and not self.node.serve:
            self._decline(lane, number, DECLINE["NOT_SERVED"])
            return
        if name == "BODY" and (reason := self._body(fields)):
            self._decline(lane, number, DECLINE[reason])
            return
        self.link.lanes[lane].cover(number, self.node.take or name != "TRANSITION")
        self.node.inbox.append((name, {**fields, "lane": lane, "number": number, "flags": flags}))
        if name == "PING":
            self.send("pong", lane, id=fields["id"], echo_wall_ms=fields["wall_ms"], wall_ms=now_ms())
        elif name == "PONG":
            self.pongs.append(fields["id"])
        elif name == "RESOURCE_REQUEST":
            status, answer = self.node.serve(V.from_hex(fields["data"]))
            self.send("resource_response", lane, id=fields["id"], status=status,
                      data=V.to_hex(answer))
        elif name == "DISCOVER":
            self.send("peer_list", lane, records=V.join_list([r.hex() for r in self.node.records]))

    def take(self, lane, *numbers):
        """The application is done with these."""
        for number in numbers:
            self.link.lanes[lane].cover(number, True)

    def _decline(self, lane, number, reason):
        incoming = self.link.lanes[lane]
        incoming.declined[number] = reason
        self.control(frame("declined", lane=lane, entries=f"{number}:{reason}"))
        incoming.cover(number, True)

    def _tell_declined(self, lane):
        entries = sorted(self.link.lanes[lane].declined.items())
        for i in range(0, len(entries), 32):
            self.control(frame("declined", lane=lane, entries=V.join_list(
                [f"{n}:{r}" for n, r in entries[i:i + 32]])))

    # what is said

    @property
    def peer_key(self):
        return self.quic.peer_key

    @property
    def up(self):
        return bool(self.said_confirm and self.confirm)

    @property
    def closed(self):
        return self.quic.closed

    def _link(self):
        if not self.link:
            peer_id = hashlib.sha256(self.peer_key).digest()
            self.link = self.node.link(peer_id, V.from_hex(self.hello["boot_id"]))
        return self.link

    def hello_bytes(self):
        return frame("hello", minor=0, features=0, boot_id=self.node.boot_id.hex(),
                     idle_timeout_ms=30000, max_message_size=self.node.max_message_size)

    def confirm_bytes(self):
        link = self._link()
        record = self.node.record
        return frame("confirm", incarnation=link.out.incarnation, observed=self.observed or "none",
                     known=link.held if link.confirmed else 0,
                     record=record.hex() if record else "none",
                     base=",".join(str(out.base()) for out in link.out.lanes))

    def speak(self):
        """All that is due: Hello, Confirm, then acknowledgements."""
        if self.mute or self.quic.closed:
            return
        if not self.said_hello and self._may_write():
            self.said_hello = True
            self.control(self.hello_bytes())
        self._say_confirm()
        if not self.up:
            return
        for lane, incoming in enumerate(self.link.lanes):
            if incoming.news and self.node.acknowledge:
                incoming.news = False
                self.control(frame("ack", lane=lane, received=incoming.received.text(),
                                   taken=incoming.taken.text()))
        for lane, out in enumerate(self.link.out.lanes):
            below = out.unsettled()
            if below > out.told and (out.declined or not out.messages):
                out.told, out.declined = below, False
                self.control(frame("settled", lane=lane, below=below))

    def _say_confirm(self):
        if not self.said_confirm and self.hello and self.quic.handshake_over and self.peer_key:
            self.said_confirm = True
            self.control(self.confirm_bytes())

    def _may_write(self):
        """A client writes with the end of its handshake, a server as soon as it has its keys."""
        if self.quic._is_client:
            return self.quic.handshake_over
        return bool(self.saw(events.ProtocolNegotiated))

    def raw(self, data, end=False):
        """A stream of its own; answers its id."""
        stream_id = self.quic.next_uni
        self.quic.send_stream_data(stream_id, data, end_stream=end)
        return stream_id

    def control(self, data, end=False):
        if self.control_id is None:
            self.control_id = self.raw(V.varint(CONTROL))
        self.quic.send_stream_data(self.control_id, data, end_stream=end)

    def lane_bytes(self, lane, data, end=False):
        if lane not in self.lane_ids:
            self.lane_ids[lane] = self.raw(V.varint(LANE + 2 * lane))
        self.quic.send_stream_data(self.lane_ids[lane], data, end_stream=end)

    def send(self, kind, lane=NORMAL, unordered=False, flags=0, **fields):
        """A message of a kind that is known; answers its number."""
        return self.send_bytes(KIND[kind.upper()], body(kind, **fields), lane, unordered, flags)

    def send_bytes(self, kind, data, lane=NORMAL, unordered=False, flags=0):
        out = self.link.out.lanes[lane]
        number, out.next = out.next, out.next + 1
        out.messages[number] = message = Message(lane, number, kind, data, flags, unordered)
        self._write(message)
        return number

    def _write(self, message):
        message.written = True
        if message.unordered:
            self.lane_bytes(message.lane, frame("elsewhere", number=message.number))
            self.raw(V.varint(UNORDERED) + V.varint(message.lane) + message.bytes(), end=True)
        else:
            self.lane_bytes(message.lane, message.bytes())

    def fate(self, lane, number):
        return self.link.out.lanes[lane].fates.get(number)

    def got(self, name):
        return [f for f in self.frames if f["frame"] == name]
