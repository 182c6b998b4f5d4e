#!/usr/bin/env python3
"""Writes the first inputs of fuzz_config, fuzz_options, of fuzz_kinds those with a load or a body, and (from the
golden vectors) of fuzz_session
into tests/fuzz/corpus.

    tests/fuzz/seeds.py

What the fuzzer finds is added by hand; those files have other names and are left alone.
"""

import os
import re
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
PEER = "tbq://" + "a" * 52 + "@[2001:db8::1]:8443"


def write(target, name, data):
    folder = os.path.join(HERE, "corpus", target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)


def fields():
    """The rows of the table in fuzz_config.c, in their order."""
    with open(os.path.join(HERE, "fuzz_config.c"), encoding="utf-8") as f:
        return re.findall(r'^    (?:FIELD\(|\{")(\w+)"?, (NUMBER|TEXT|LIST)', f.read(), re.M)


def config(*steps, last=None):
    rows = fields()
    names = [name for name, _ in rows]
    out = b""
    for name, value in steps:
        at = names.index(name)
        out += bytes([at])
        if rows[at][1] == "NUMBER":
            out += struct.pack(">Q", value)
        else:
            text = value.encode()
            out += bytes([len(text)]) + text
    if last is not None:
        out += bytes([len(rows), names.index(last)])
    return out


def configs():
    yield "defaults", config()
    yield "client", config(("network_mode", 1), ("bootstrap_nodes", "localhost:8443"))
    yield "server", config(("network_mode", 2), ("bind_address", "0.0.0.0"), ("bind_port", 0))
    yield "server-dials", config(("network_mode", 2), ("bootstrap_nodes", "[::1]:1"))
    yield "pinned", config(("bootstrap_nodes", PEER), ("bootstrap_nodes", "192.0.2.1:1"))
    yield "too-many", config(*[("bootstrap_nodes", f"h{i}:1") for i in range(65)])
    yield "no-port", config(("bootstrap_nodes", "example.org:0"))
    yield "null-in-list", config(("bootstrap_nodes", "h:1"), ("bootstrap_nodes_len", 2))
    yield "name-to-bind", config(("bind_address", "localhost"))
    yield "v6-to-bind", config(("bind_address", "fe80::1"))
    yield "cert-alone", config(("cert_path", "cert.pem"))
    yield "cert-and-key", config(("cert_path", "cert.pem"), ("key_path", "key.pem"))
    yield "largest-message", config(("max_message_size", 1 << 30), ("outbox_bytes", 1 << 30))
    yield "outbox-small", config(("outbox_bytes", 1024))
    yield "window-small", config(("receive_window", 1024))
    yield "window-shrinks", config(("receive_window", 3 << 20), ("receive_window_max", 1 << 20))
    yield "budget-endless", config(("receive_budget", 1 << 41))
    yield "congestion-unknown", config(("congestion", 3))
    yield "idle-at-least", config(("ping_interval_ms", 100), ("idle_timeout_ms", 200))
    yield "idle-below", config(("ping_interval_ms", 3600000))
    yield "capabilities-most", config(("capabilities", (1 << 62) - 1))
    yield "capabilities-beyond", config(("capabilities", 1 << 62))
    yield "role-unknown", config(("role", 0xFFFFFFFF))
    yield "text-small", config(("max_connections", 1 << 21), ("error_text_size", 1))
    for name, _ in fields():
        yield f"until-{name}", config(("ping_interval_ms", 1000), last=name)


def lines(command, *arguments):
    return bytes([command]) + "\n".join(arguments).encode()


def options():
    server, client, keygen = range(3)
    yield "none", lines(server)
    yield "server", lines(
        server, "--bind", "[::]:0", "--mode=hybrid", "--bootstrap", PEER, "--bootstrap=h:1",
        "--trust", "allow:list", "--deny", "d", "--state", "s", "--store", "o", "--log-level", "info")
    yield "client", lines(
        client, "localhost:1", "--count", "3", "--send", "-", "--send=f", "--lines", "--request",
        "r", "--output", "o", "--timeout", "4294967295", "--cert", "c", "--key", "k", "--json")
    yield "keygen", lines(keygen, "--state", "s")
    yield "help", lines(client, "--help")
    yield "help-shortened", lines(client, "--send", "x", "--he")
    yield "ambiguous", lines(server, "--b")
    yield "unknown", lines(server, "--json", "--nothing")
    yield "cluster", lines(server, "-abc")
    yield "no-value", lines(server, "--bind")
    yield "value-of-a-flag", lines(client, "--lines=1")
    yield "too-many", lines(server, *["--bootstrap=h:1"] * 65)
    yield "as-many-as-may-be", lines(server, *["--bootstrap=h:1"] * 64)
    yield "two-addresses", lines(client, "a:1", "--", "--send")
    yield "number-negative", lines(client, "--count", "-1")
    yield "number-blank", lines(client, "--count", " 7")
    yield "number-large", lines(client, "--timeout", "99999999999999999999999")
    yield "trust-unknown", lines(server, "--trust", "allow:")
    yield "state-and-key", lines(server, "--state", "s", "--key", "k")
    yield "level-unknown", lines(server, "--log-level", "loud")


# The commands of fuzz_session.c, and its flags.
RAW, OPEN, TIME, SEND, RELEASE, ASK, ANSWER, STOP, AGAIN = 0, 4, 7, 8, 9, 10, 11, 12, 13
NODE_DIALS, POLITE, SLOW = 1, 2, 4
KINDS = ["ping", "pong", "discover", "announce", "peer_list", "transition", "resource_request",
         "resource_response", "error", "body"]
LANE_2 = b"\x14"


def session(flags, *steps):
    return bytes([flags]) + b"".join(steps) + bytes([TIME, 31])


def say(command, data):
    assert len(data) < 256
    return bytes([command, len(data)]) + data


def vectors(name):
    """Name, frame or kind, and bytes of the golden vectors of a file that one command can say."""
    with open(os.path.join(HERE, "..", "vectors", name), encoding="utf-8") as f:
        for line in f:
            part = [p.strip() for p in line.split("|")]
            what = re.search(r"(?:frame|kind)=(\w+)", line)
            if line.startswith("#") or what is None or part[-1] == "-":
                continue
            data = bytes.fromhex(part[-1])
            if len(data) < 240:
                yield what.group(1), "error=" in part[1], data


def message(number, kind, body, flags=0):
    head = bytes([number, flags, kind])
    size = len(head) + len(body)
    return b"\x20" + (bytes([size]) if size < 64 else struct.pack(">H", 0x4000 + size)) + head + body


def sessions():
    for kind, name in enumerate(KINDS, 1):
        bodies = [data for what, _, data in vectors("kinds.txt") if what == name]
        said = [say(OPEN, LANE_2)] + [
            say(RAW + 1, message(n, kind, body)) for n, body in enumerate(bodies)]
        yield f"kind-{name}", session(POLITE, *said)
        yield f"kind-{name}-slow", session(
            POLITE | SLOW, *said, *[bytes([SEND, ASK, ANSWER, RELEASE])] * 3)
    for name in ("ack", "skip", "declined", "settled", "elsewhere", "busy", "hello", "confirm"):
        frames = [data for what, bad, data in vectors("frames.txt") if what == name and not bad]
        before = LANE_2 if name == "elsewhere" else b""
        number = 1 if name == "elsewhere" else 0
        steps = []
        for data in frames[:6]:
            steps += [say(OPEN, before)] if before else []
            steps += [say(RAW + number, data), bytes([AGAIN])]
        yield f"frame-{name}", session(POLITE, *steps)
    for flags, who in ((0, "client"), (NODE_DIALS, "server")):
        for name in ("hello", "confirm", "busy"):
            data = next(d for what, bad, d in vectors("frames.txt") if what == name and not bad)
            hello = next(d for what, bad, d in vectors("frames.txt") if what == "hello")
            first = hello + data if name == "confirm" else data
            yield f"{who}-says-{name}", session(flags, say(OPEN, b"\0" + first), bytes([SEND]))
    told = {"received": b"\x04\x05\x00\x01\x00\x00\x00", "taken": b"\x04\x05\x00\x00\x00\x01\x00",
            "declined": b"\x08\x04\x00\x01\x00\x04"}
    for name, frame in told.items():
        yield f"sent-and-{name}", session(
            POLITE, bytes([SEND]), say(RAW, frame), bytes([SEND, AGAIN]), say(RAW, frame))
    yield "not-wanted", session(POLITE, *[bytes([SEND, STOP, n, TIME, 5]) for n in range(6)])
    yield "expires", session(POLITE, *[bytes([SEND, TIME, 31])] * 6)
    yield "asked-and-answered", session(
        POLITE, bytes([ASK]), say(OPEN, LANE_2), *[
            say(RAW + 1, message(n, 8, struct.pack(">QB", n, 0) + b"yes")) for n in range(12)])
    yield "repeat-and-skippable", session(
        POLITE, say(OPEN, LANE_2 + message(0, 6, b"x", 1) + message(1, 63, b"y", 2) +
                    message(1, 6, b"z") + message(5, 6, b"gap")))
    yield "half-an-unordered-message", session(
        POLITE, say(OPEN, b"\x02\x02" + message(0, 6, b"half")[:-2]), bytes([AGAIN]))


def kinds():
    """PING and PONG with the fields of load (5) and capacity (7), right and wrong; parts of bodies."""
    for n, (_, bad, data) in enumerate(d for d in vectors("kinds.txt") if d[0] == "body"):
        yield f"body-{n}{'-wrong' if bad else ''}", b"\x0a" + data
    ping, pong = bytes(8) + b"\x05", bytes(8) + b"\x05\x06"
    load, capacity = b"\x05\x02\x01\x5e", b"\x07\x02\x00\x64"
    yield "ping-load", b"\x01" + ping + load
    yield "ping-capacity", b"\x01" + ping + capacity
    yield "ping-load-and-capacity", b"\x01" + ping + load + capacity
    yield "ping-load-largest", b"\x01" + ping + b"\x05\x02\xff\xff\x07\x02\xff\xff"
    yield "ping-capacity-clamped", b"\x01" + ping + b"\x07\x02\x00\x00"
    yield "ping-load-and-odd-fields", b"\x01" + ping + b"\x03\x00" + load + capacity + b"\x09\x00"
    yield "ping-load-and-even-field", b"\x01" + ping + load + b"\x06\x00"
    yield "ping-load-cut", b"\x01" + ping + b"\x05\x01\x5e"
    yield "ping-load-long", b"\x01" + ping + b"\x05\x03\x00\x01\x5e"
    yield "ping-load-twice", b"\x01" + ping + load + load
    yield "ping-load-behind-capacity", b"\x01" + ping + capacity + load
    yield "ping-capacity-empty", b"\x01" + ping + b"\x07\x00"
    yield "pong-load-and-capacity", b"\x02" + pong + load + capacity
    yield "pong-capacity-clamped", b"\x02" + pong + b"\x07\x02\x00\x00"
    yield "pong-load-cut", b"\x02" + pong + load[:-1]


for seed, content in sessions():
    write("session", seed, content)
for seed, content in configs():
    write("config", seed, content)
for seed, content in options():
    write("options", seed, content)
for seed, content in kinds():
    write("kinds", seed, content)
