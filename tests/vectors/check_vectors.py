#!/usr/bin/env python3
"""Checks the golden vectors with a second implementation of docs/protocol.md.

Written from that text alone, to show that the text is enough and that the C code follows it. Prints
TAP. Signatures are left to the C program: the standard library has no Ed25519.
"""

import base64
import fractions
import hashlib
import ipaddress
import os
import re
import sys

VARINT_MAX = 2**62 - 1
NUMBER_MAX = 2**62 - 2
FRAME_MAX = 2**30 + 64
CONTROL_MAX = 4096
WALL_MAX = 253402300799999
DAY_MS = 86400000


class Wrong(Exception):
    """Bytes that the protocol refuses; the argument is the error's name."""


# --- bytes ---------------------------------------------------------------------------------------


def varint(value):
    for log, limit in enumerate((2**6, 2**14, 2**30, 2**62)):
        if value < limit:
            size = 1 << log
            return (value | log << (8 * size - 2)).to_bytes(size, "big")
    raise ValueError(value)


def prefixed(data):
    return varint(len(data)) + data


class Reader:
    def __init__(self, data):
        self.data = data
        self.at = 0

    def left(self):
        return len(self.data) - self.at

    def take(self, size):
        if size > self.left():
            raise Wrong("MALFORMED")
        self.at += size
        return self.data[self.at - size : self.at]

    def rest(self):
        return self.take(self.left())

    def fixed(self, size):
        return int.from_bytes(self.take(size), "big")

    def varint(self, low=0, high=VARINT_MAX):
        first = self.fixed(1)
        size = 1 << (first >> 6)
        value = (first & 0x3F) << 8 * (size - 1) | self.fixed(size - 1)
        if not low <= value <= high:
            raise Wrong("MALFORMED")
        return value

    def prefixed(self, low=0, high=VARINT_MAX):
        return Reader(self.take(self.varint(low, high)))

    def finish(self):
        if self.left() != 0:
            raise Wrong("MALFORMED")

    def fields(self):
        """Yields (type, reader of the value); the caller says which it knows through skip()."""
        lowest = 0
        while self.left():
            kind = self.varint(lowest)
            lowest = kind + 1
            yield kind, self.prefixed()


def skip(kind):
    if kind % 2 == 0:
        raise Wrong("UNSUPPORTED")


def no_fields(reader):
    for kind, _ in reader.fields():
        skip(kind)


def field(kind, value):
    return varint(kind) + prefixed(value)


def clamp(value, low, high):
    return max(low, min(value, high))


# --- text forms of values -------------------------------------------------------------------------


def from_hex(text):
    return b"" if text == "-" else bytes.fromhex(text)


def to_hex(data):
    return data.hex() or "-"


def split_list(text):
    return [] if text == "none" else text.split(",")


def join_list(items):
    return ",".join(items) or "none"


def address_bytes(text):
    host, port = text.rsplit(":", 1)
    return ipaddress.ip_address(host.strip("[]")).packed + int(port).to_bytes(2, "big")


def read_address(reader):
    if reader.left() not in (6, 18):
        raise Wrong("MALFORMED")
    ip = ipaddress.ip_address(reader.take(reader.left() - 2))
    port = reader.fixed(2)
    if port == 0:
        raise Wrong("MALFORMED")
    if ip.version == 6 and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}"


def write_rising(numbers):
    before = 0
    for number in numbers:
        yield varint(number - before)
        before = number


# --- frames ---------------------------------------------------------------------------------------


def write_hello(f):
    out = field(0, varint(int(f["minor"])))
    if int(f["features"]):
        out += field(1, varint(int(f["features"])))
    out += field(2, from_hex(f["boot_id"]))
    if int(f["idle_timeout_ms"]):
        out += field(3, varint(int(f["idle_timeout_ms"])))
    out += field(4, varint(int(f["max_message_size"])))
    return out + field(7, b"") if "beside" in f else out


def read_hello(r):
    got = {1: 0, 3: 0}
    for kind, value in r.fields():
        if kind in (0, 1, 3, 4):
            got[kind] = value.varint()
        elif kind == 2:
            got[kind] = value.take(16)
        elif kind == 7:
            got[kind] = 1
        else:
            skip(kind)
            continue
        value.finish()
    if not {0, 2, 4} <= set(got):
        raise Wrong("MALFORMED")
    return {
        "minor": got[0],
        "features": got[1],
        "boot_id": to_hex(got[2]),
        "idle_timeout_ms": clamp(got[3], 1000, DAY_MS) if got[3] else 0,
        "max_message_size": clamp(got[4], 1024, 2**30),
        **({"beside": 1} if 7 in got else {}),
    }


def write_confirm(f):
    out = field(0, int(f["incarnation"]).to_bytes(8, "big"))
    if f["observed"] != "none":
        out += field(1, address_bytes(f["observed"]))
    out += field(2, int(f["known"]).to_bytes(8, "big"))
    if f["record"] != "none":
        out += field(3, from_hex(f["record"]))
    return out + field(4, b"".join(varint(int(n)) for n in f["base"].split(",")))


def read_confirm(r):
    got = {1: "none", 3: "none"}
    for kind, value in r.fields():
        if kind in (0, 2):
            got[kind] = value.fixed(8)
        elif kind == 1:
            got[kind] = read_address(value)
        elif kind == 3:
            if not 1 <= value.left() <= 1024:
                raise Wrong("MALFORMED")
            got[kind] = to_hex(value.rest())
        elif kind == 4:
            got[kind] = ",".join(str(value.varint()) for _ in range(4))
        else:
            skip(kind)
            continue
        value.finish()
    if not {0, 2, 4} <= set(got) or got[0] == 0:
        raise Wrong("MALFORMED")
    return {
        "incarnation": got[0],
        "observed": got[1],
        "known": got[2],
        "record": got[3],
        "base": got[4],
    }


def write_set(text):
    below, *ranges = text.split(";")
    out = varint(int(below)) + varint(len(ranges))
    end = int(below)
    for item in ranges:
        start, count = map(int, item.split("+"))
        out += varint(start - end) + varint(count)
        end = start + count
    return out


def read_set(r):
    end = r.varint()
    out = [str(end)]
    for _ in range(r.varint(0, 32)):
        start = end + r.varint(1)
        count = r.varint(1)
        end = start + count
        if end - 1 > NUMBER_MAX:
            raise Wrong("MALFORMED")
        out.append(f"{start}+{count}")
    return ";".join(out)


def write_ack(f):
    return varint(int(f["lane"])) + write_set(f["received"]) + write_set(f["taken"])


def read_ack(r):
    return {"lane": r.varint(0, 3), "received": read_set(r), "taken": read_set(r)}


def write_skip(f):
    numbers = [int(n) for n in f["numbers"].split(",")]
    return varint(int(f["lane"])) + varint(len(numbers)) + b"".join(write_rising(numbers))


def read_number(r, before):
    number = r.varint() if before is None else before + r.varint(1)
    if number > NUMBER_MAX:
        raise Wrong("MALFORMED")
    return number


def read_skip(r):
    lane = r.varint(0, 3)
    numbers = []
    for _ in range(r.varint(1, 64)):
        numbers.append(read_number(r, numbers[-1] if numbers else None))
    return {"lane": lane, "numbers": ",".join(map(str, numbers))}


def write_declined(f):
    entries = [tuple(map(int, e.split(":"))) for e in f["entries"].split(",")]
    out = varint(int(f["lane"])) + varint(len(entries))
    for number, (_, reason) in zip(write_rising(n for n, _ in entries), entries):
        out += number + varint(reason)
    return out


def read_declined(r):
    lane = r.varint(0, 3)
    entries = []
    number = None
    for _ in range(r.varint(1, 32)):
        number = read_number(r, number)
        entries.append(f"{number}:{r.varint()}")
    return {"lane": lane, "entries": ",".join(entries)}


def write_settled(f):
    return varint(int(f["lane"])) + varint(int(f["below"]))


def read_settled(r):
    return {"lane": r.varint(0, 3), "below": r.varint()}


def write_message(f):
    return (
        varint(int(f["number"]))
        + varint(int(f["flags"]))
        + varint(int(f["kind"]))
        + from_hex(f["body"])
    )


def read_message(r):
    out = {"number": r.varint(0, NUMBER_MAX), "flags": r.varint(), "kind": r.varint()}
    if out["flags"] & ~3:
        raise Wrong("UNSUPPORTED")
    out["body"] = to_hex(r.rest())
    return out


def write_records(f):
    records = [from_hex(x) for x in split_list(f["records"])]
    return varint(len(records)) + b"".join(map(prefixed, records))


def read_records(r, most):
    count = r.varint(0, most)
    return {"records": join_list([r.prefixed(1, 1024).rest().hex() for _ in range(count)])}


def write_elsewhere(f):
    return varint(int(f["number"]))


def read_elsewhere(r):
    return {"number": r.varint(0, NUMBER_MAX)}


def read_busy(r):
    out = read_records(r, 8)
    no_fields(r)
    return out


def write_rest(f):
    return b""


def read_rest(r):
    no_fields(r)
    return {}


def write_early(f):
    wall = varint(int(f["wall_ms"])) if "wall_ms" in f else b""
    return int(f["id"]).to_bytes(8, "big") + wall


def read_early_id(r):
    number = r.fixed(8)
    if number == 0:
        raise Wrong("MALFORMED")
    return number


def read_early_ping(r):
    out = {"id": read_early_id(r)}
    no_fields(r)
    return out


def read_early_pong(r):
    out = {"id": read_early_id(r), "wall_ms": min(r.varint(), WALL_MAX)}
    no_fields(r)
    return out


FRAMES = {
    "hello": (0x00, write_hello, read_hello),
    "confirm": (0x02, write_confirm, read_confirm),
    "ack": (0x04, write_ack, read_ack),
    "skip": (0x06, write_skip, read_skip),
    "declined": (0x08, write_declined, read_declined),
    "settled": (0x0A, write_settled, read_settled),
    "busy": (0x0C, write_records, read_busy),
    "rest": (0x0D, write_rest, read_rest),
    "early_ping": (0x0F, write_early, read_early_ping),
    "early_pong": (0x11, write_early, read_early_pong),
    "message": (0x20, write_message, read_message),
    "elsewhere": (0x22, write_elsewhere, read_elsewhere),
}
LANE_FRAMES = ("message", "elsewhere")


def write_frame(f):
    if f["frame"] == "unknown":
        return varint(int(f["type"])) + prefixed(from_hex(f["body"]))
    kind, write, _ = FRAMES[f["frame"]]
    return varint(kind) + prefixed(write(f))


def read_frame(r):
    kind = r.varint()
    length = r.varint()
    name = next((n for n, (k, _, _) in FRAMES.items() if k == kind), "unknown")
    if length > FRAME_MAX or (name not in LANE_FRAMES + ("unknown",) and length > CONTROL_MAX):
        raise Wrong("LIMIT")
    body = Reader(r.take(length))
    if name == "unknown":
        skip(kind)
        return {"frame": name, "type": kind, "body": to_hex(body.rest())}
    out = {"frame": name, **FRAMES[name][2](body)}
    body.finish()
    return out


# --- kinds ----------------------------------------------------------------------------------------


def read_wall(r):
    return clamp(r.varint(), 0, WALL_MAX)


def read_request_id(r):
    value = r.fixed(8)
    if value == 0:
        raise Wrong("MALFORMED")
    return value


def write_id(f):
    return int(f["id"]).to_bytes(8, "big")


def write_error(f):
    out = varint(int(f["code"]))
    if f["subject"] == "none":
        out += varint(0)
    else:
        lane, number = map(int, f["subject"].split(":"))
        out += varint(1) + varint(lane) + varint(number)
    return out + prefixed(from_hex(f["text"]))


def read_error(r):
    code = r.varint(0, 2**31 - 1)
    subject = "none"
    if r.varint(0, 1):
        subject = f"{r.varint(0, 3)}:{r.varint(0, NUMBER_MAX)}"
    return {"code": code, "subject": subject, "text": to_hex(r.prefixed(0, 256).rest())}


LOAD_FIELDS = {5: ("load", 0), 7: ("capacity", 1)}  # type: (name, least value)


def write_load(f):
    out = b""
    for kind, (name, _) in LOAD_FIELDS.items():
        if name in f:
            out += field(kind, int(f[name]).to_bytes(2, "big"))
    return out


def read_load(r):
    out = {}
    for kind, value in r.fields():
        if kind in LOAD_FIELDS:
            name, least = LOAD_FIELDS[kind]
            out[name] = max(value.fixed(2), least)
            value.finish()
        else:
            skip(kind)
    return out


def write_ping(f):
    return write_id(f) + varint(int(f["wall_ms"])) + write_load(f)


def read_ping(r):
    return {"id": r.fixed(8), "wall_ms": read_wall(r), **read_load(r)}


def write_pong(f):
    walls = varint(int(f["echo_wall_ms"])) + varint(int(f["wall_ms"]))
    return write_id(f) + walls + write_load(f)


def read_pong(r):
    out = {"id": r.fixed(8), "echo_wall_ms": read_wall(r), "wall_ms": read_wall(r)}
    return {**out, **read_load(r)}


LENGTH_MAX = 2**62 - 2


def write_body(f):
    length = 0 if f["length"] == "unknown" else int(f["length"]) + 1
    head = varint(int(f["what"])) + varint(int(f["offset"])) + varint(length)
    return write_id(f) + head + from_hex(f["data"])


def read_body(r):
    out = {"id": read_request_id(r), "what": r.varint(0, 2), "offset": r.varint(0, LENGTH_MAX)}
    length, data = r.varint(), r.rest()
    if out["offset"] + len(data) > LENGTH_MAX or (out["what"] == 0 and not data):
        raise Wrong("MALFORMED")
    if out["what"] == 2 and data:
        raise Wrong("MALFORMED")
    return {**out, "length": length - 1 if length else "unknown", "data": to_hex(data)}


# name: (number, write, read, ends in fields that are not known)
KINDS = {
    "ping": (1, write_ping, read_ping, False),
    "pong": (2, write_pong, read_pong, False),
    "discover": (
        3,
        lambda f: varint(int(f["max"])) + varint(int(f["capabilities"])),
        lambda r: {"max": clamp(r.varint(), 1, 64), "capabilities": r.varint()},
        True,
    ),
    "announce": (
        4,
        lambda f: prefixed(from_hex(f["record"])),
        lambda r: {"record": to_hex(r.prefixed(1, 1024).rest())},
        True,
    ),
    "peer_list": (5, write_records, lambda r: read_records(r, 64), True),
    "transition": (
        6,
        lambda f: from_hex(f["data"]),
        lambda r: {"data": to_hex(r.rest())},
        False,
    ),
    "resource_request": (
        7,
        lambda f: write_id(f) + varint(int(f["timeout_ms"])) + from_hex(f["data"]),
        lambda r: {
            "id": read_request_id(r),
            "timeout_ms": clamp(r.varint(), 0, DAY_MS),
            "data": to_hex(r.rest()),
        },
        False,
    ),
    "resource_response": (
        8,
        lambda f: write_id(f) + varint(int(f["status"])) + from_hex(f["data"]),
        lambda r: {
            "id": read_request_id(r),
            "status": clamp(r.varint(), 0, 3),
            "data": to_hex(r.rest()),
        },
        False,
    ),
    "error": (9, write_error, read_error, True),
    "body": (10, write_body, read_body, False),
}


def write_kind(f):
    return KINDS[f["kind"]][1](f)


def read_kind(r, name):
    _, _, read, has_fields = KINDS[name]
    out = {"kind": name, **read(r)}
    if has_fields:
        no_fields(r)
    return out


# --- records, ids, scores, the rest -----------------------------------------------------------------


def write_record(f):
    addresses = [a.split("/", 1) for a in split_list(f["addresses"])]
    out = from_hex(f["key"])
    out += b"".join(varint(int(f[n])) for n in ("sequence", "role", "capabilities"))
    out += varint(len(addresses))
    for kind, value in addresses:
        raw = bytes.fromhex(value) if kind == "3" else address_bytes(value)
        out += varint(int(kind)) + prefixed(raw)
    return out + from_hex(f["signature"])


def read_record(r):
    if not 64 <= r.left() <= 1024:
        raise Wrong("MALFORMED")
    signed = Reader(r.take(r.left() - 64))
    out = {"key": signed.take(32).hex()}
    for name in ("sequence", "role", "capabilities"):
        out[name] = signed.varint()
    addresses = []
    for _ in range(signed.varint(0, 16)):
        kind = signed.varint()
        value = signed.prefixed()
        if kind > 3:
            continue
        if kind == 3:
            addresses.append(f"3/{value.take(32).hex()}")
        else:
            addresses.append(f"{kind}/{read_address(value)}")
        value.finish()
    no_fields(signed)
    out["addresses"] = join_list(addresses)
    out["signature"] = r.take(64).hex()
    return out


def id_to_text(peer):
    return base64.b32encode(peer).decode().lower().rstrip("=")


def id_from_text(text):
    if len(text) != 52 or text != text.lower():
        raise Wrong("INVALID")
    try:
        peer = base64.b32decode(text.upper() + "====")
    except ValueError:
        raise Wrong("INVALID") from None
    if id_to_text(peer) != text:
        raise Wrong("INVALID")
    return peer


STREAMS = {0x00: ("control", None), 0x02: ("unordered", None), 0x06: ("aside", None)}
STREAMS.update({0x10 + 2 * lane: ("lane", lane) for lane in range(4)})


def read_prologue(data):
    r = Reader(data)
    try:
        kind = r.varint()
        name, lane = STREAMS.get(kind, ("unknown", None))
        if name in ("unordered", "aside"):
            lane = r.varint()
    except Wrong:
        raise Wrong("AGAIN") from None
    if name == "unknown":
        skip(kind)
        return {"stream": name, "type": kind}
    if name == "control":
        return {"stream": name}
    if lane > 3:
        raise Wrong("MALFORMED")
    return {"stream": name, "lane": lane}


def write_prologue(f):
    if f["stream"] == "unknown":
        return varint(int(f["type"]))
    if f["stream"] == "control":
        return varint(0)
    if f["stream"] == "unordered":
        return varint(2) + varint(int(f["lane"]))
    if f["stream"] == "aside":
        return varint(6) + varint(int(f["lane"]))
    return varint(0x10 + 2 * int(f["lane"]))


CODES = {
    "stream": {"CONTROL": 0, "UNORDERED": 2, "ASIDE": 6, "LANE": 0x10},
    "frame": {name.upper(): kind for name, (kind, _, _) in FRAMES.items()},
    "kind": {name.upper(): entry[0] for name, entry in KINDS.items()},
    "flag": {"REPEAT": 1, "SKIPPABLE": 2},
    "decline": dict(
        zip(
            "SKIPPED TOO_LARGE UNKNOWN_KIND MALFORMED REFUSED NOT_SERVED NO_BODY FULL".split(),
            range(8),
        )
    ),
    "close": dict(
        zip(
            "NONE STOPPED PROTOCOL LIMIT VERSION NO_CERTIFICATE KEY_TYPE CERTIFICATE PIN DENIED "
            "NOT_ALLOWED BUSY REPLACED SELF TIMEOUT MODE INTERNAL RESTING".split(),
            range(18),
        )
    ),
    "error": dict(
        zip(
            "NOMEM INVALID AGAIN CLOSED BUSY MODE TOO_LARGE NO_ROUTE TIMEOUT IDENTITY TRUST "
            "PROTOCOL LIMIT NAME ADDRESS FILE IO TLS EXPIRED REFUSED RESTARTED UNSUPPORTED EXISTS "
            "STOPPED LOST SELF MALFORMED INTERNAL".split(),
            range(1, 29),
        )
    ),
    "status": {"OK": 0, "NOT_FOUND": 1, "REFUSED": 2, "FAILED": 3},
}


# --- the files --------------------------------------------------------------------------------------


class Line:
    def __init__(self, text):
        self.name, fields, data = text.split(" | ")
        self.raw = from_hex(data)
        pairs = [item.partition("=") for item in fields.split(" ")]
        self.lenient = pairs[0][0] == "lenient"
        if self.lenient:
            pairs = pairs[1:]
        self.fields = {key: value for key, _, value in pairs}
        self.error = self.fields.pop("error", None) if pairs[0][0] == "error" else None


def load(folder, family):
    with open(os.path.join(folder, family + ".txt"), encoding="utf-8") as file:
        lines = [Line(x.rstrip("\n")) for x in file if x.strip() and not x.startswith("#")]
    if len({line.name for line in lines}) != len(lines):
        raise SystemExit(f"Bail out! two lines of {family}.txt have the same name")
    return lines


def whole(read):
    """A reader function that must use all of the bytes."""

    def run(line):
        r = Reader(line.raw)
        out = read(r)
        r.finish()
        return out

    return run


def decode_score(line):
    key, node = from_hex(line.fields["key"]), from_hex(line.fields["node"])
    first = hashlib.sha256(key + node).digest()[:8]
    if first != line.raw:
        raise Wrong("another hash")
    return {**line.fields, "score": int.from_bytes(first, "little")}


def distance(score):
    s = max(score, 1)
    e = s.bit_length() - 1
    m = (s << 31) >> e
    f = 0
    for _ in range(32):
        m = m * m >> 31
        f *= 2
        if m >= 2**32:
            m >>= 1
            f += 1
    return 2**38 - (e * 2**32 + f)


def decode_distance(line):
    score = int(line.fields["score"])
    if Reader(line.raw).fixed(8) != distance(score):
        raise Wrong("another distance")
    return {"score": score, "distance": Reader(line.raw).fixed(8)}


def order(key, candidates):
    """The places of the candidates (peer id, capacity, load or None), the best first."""
    loads = [load for _, _, load in candidates if load is not None]
    total = sum(min(load, 1000) for load in loads)

    def rank(place):
        node, capacity, load = candidates[place]
        score = int.from_bytes(hashlib.sha256(key + node).digest()[:8], "little")
        over = load is not None and load > 50 and 4 * load * len(loads) > 5 * total
        return over, fractions.Fraction(distance(score), capacity), -score, node

    return bytes(sorted(range(len(candidates)), key=rank))


def decode_order(line):
    candidates = []
    for item in line.fields["candidates"].split(","):
        node, capacity, load = item.split("/")
        candidates.append((bytes.fromhex(node), 100 if capacity == "none" else int(capacity),
                           None if load == "none" else int(load)))
    if order(from_hex(line.fields["key"]), candidates) != line.raw:
        raise Wrong("another order")
    return line.fields


def decode_id(line):
    if line.error:
        return id_from_text(line.fields["text"])
    if hashlib.sha256(from_hex(line.fields["key"])).digest() != line.raw:
        raise Wrong("another hash")
    if id_from_text(line.fields["text"]) != line.raw:
        raise Wrong("another id")
    return {**line.fields, "text": id_to_text(line.raw)}


def decode_code(line):
    number = Reader(line.raw).varint()
    family = CODES[line.fields["family"]]
    names = [name for name, n in family.items() if n == number]
    return {"family": line.fields["family"], "name": names[0] if names else "?"}


FAMILIES = {
    "varints": (whole(lambda r: {"value": r.varint()}), lambda f: varint(int(f["value"]))),
    "prologues": (lambda line: read_prologue(line.raw), write_prologue),
    "frames": (whole(read_frame), write_frame),
    "kinds": (
        lambda line: whole(lambda r: read_kind(r, line.fields["kind"]))(line),
        write_kind,
    ),
    "records": (whole(read_record), write_record),
    "ids": (decode_id, lambda f: hashlib.sha256(from_hex(f["key"])).digest()),
    "scores": (decode_score, lambda f: int(f["score"]).to_bytes(8, "little")),
    "distances": (decode_distance, lambda f: int(f["distance"]).to_bytes(8, "big")),
    "orders": (decode_order, None),
    "codes": (decode_code, lambda f: varint(CODES[f["family"]][f["name"]])),
}


def check(line, decode, encode):
    """None when the line is right, else a text that says what is not."""
    try:
        got = {key: str(value) for key, value in decode(line).items()}
    except Wrong as wrong:
        found = str(wrong)
        return None if found == line.error else f"decodes to error {found}, not {line.error}"
    want = {key: value for key, value in line.fields.items() if key != "seed"}
    if line.error == "IDENTITY":
        return None  # right in form; the C program checks signatures
    if line.error:
        return f"decodes to {got}, not to error {line.error}"
    if got != want:
        return f"decodes to {got}, not to {want}"
    if encode is None:
        return None  # computed from the fields, and compared
    same = encode(want) == line.raw
    if same == line.lenient:
        return f"encodes to {encode(want).hex()}"
    return None


def check_exchange(line, tables):
    parts = [name.split("/") for name in line.fields["parts"].split(",")]
    joined = b"".join(tables[family][name].raw for family, name in parts)
    if joined != line.raw:
        return f"the parts make {joined.hex()}"
    r = Reader(line.raw)
    r.take(len(tables[parts[0][0]][parts[0][1]].raw))
    for family, name in parts[1:]:
        got = {key: str(value) for key, value in read_frame(r).items()}
        if got != tables[family][name].fields:
            return f"{name} reads as {got}"
    return None if r.left() == 0 else "bytes are left"


HEX_LINE = re.compile(r"(?:[0-9a-f]{2})+(?: (?:[0-9a-f]{2})+)*")


def check_document(path, exchange):
    """The hex in the last section of the text is that of exchange.txt: names of faulty streams."""
    with open(path, encoding="utf-8") as file:
        section = file.read().partition("\n## 17 ")[2]
    streams = {}
    current = None
    for line in section.splitlines():
        title = re.match(r"\*\*(Server|Client), control stream\*\*", line)
        inline = re.match(r" +(client|server), (lane \d|control|unordered): +(.*)", line)
        if title:
            current = title.group(1).lower() + "-control"
        elif inline:
            current = f"{inline.group(1)}-{inline.group(2).replace(' ', '-')}"
        if not line.startswith("    "):
            continue
        text = inline.group(3) if inline else line.strip()
        streams[current] = streams.get(current, "") + HEX_LINE.match(text)[0].replace(" ", "")
    return [name for name, line in exchange.items() if streams.get(name) != line.raw.hex()]


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    tables = {family: load(folder, family) for family in FAMILIES}
    results = []
    for family, lines in tables.items():
        decode, encode = FAMILIES[family]
        results += [(f"{family}/{line.name}", check(line, decode, encode)) for line in lines]
    by_name = {family: {x.name: x for x in lines} for family, lines in tables.items()}
    exchange = {line.name: line for line in load(folder, "exchange")}
    for line in exchange.values():
        results.append((f"exchange/{line.name}", check_exchange(line, by_name)))
    document = os.path.join(folder, "..", "..", "docs", "protocol.md")
    faulty = check_document(document, exchange)
    results.append(("the exchange in docs/protocol.md", ", ".join(faulty) or None))
    for family, names in CODES.items():
        listed = {x.fields["name"] for x in tables["codes"] if x.fields["family"] == family}
        results.append((f"codes of family {family} are complete",
                        None if listed == set(names) else f"listed: {sorted(listed)}"))
    print(f"1..{len(results)}")
    for index, (name, problem) in enumerate(results, 1):
        print(f"{'not ok' if problem else 'ok'} {index} - {name}")
        if problem:
            print(f"# {problem}")
    return 1 if any(problem for _, problem in results) else 0


if __name__ == "__main__":
    sys.exit(main())
