#!/usr/bin/env python3
"""kill -9 of the server under a stream: what the fates may say then, and what they may not. TAP."""

import os
import signal

from cli_help import FATES, WAIT, Process, Server, fates, ok, run_all, sha256, write

MANY = 3000
SIZE = 2000  # bytes of a message: three receive windows in all
# What a receiver grants for what it has not taken: see receive_window in tbquic/config.h.
WINDOW = 2 * (1 << 20) + (64 << 10)


def killed(folder):
    texts = [f"line {i} of a stream ".ljust(SIZE, ".") for i in range(1, MANY + 1)]
    names = [sha256(t.encode()) for t in texts]
    number = {name: i for i, name in enumerate(names, 1)}
    path = write(os.path.join(folder, "lines"), "\n".join(texts) + "\n")
    server = Server(folder, store=True)
    client = Process("client", server.uri, "--lines", "--send", path)
    client.wait("delivered", many=100)
    server.signal(signal.SIGKILL)
    server.end()
    before = {number[n] for n in server.stored()}
    ok(0 < len(before) < MANY, f"the kill fell inside the stream: {len(before)} of {MANY} are stored")
    again = Server(folder, f"127.0.0.1:{server.port}", store=True)
    code = client.end(3 * WAIT)  # two synced writes for each message
    told = client.told(*FATES)
    counted, once = fates(told)
    fate = {e["id"]: e["event"] for e in told}
    ok(once and sorted(fate) == list(range(1, MANY + 1)), f"every message has one fate: {counted}",
       client.err)
    stored = again.stored()
    ok(sorted(stored) == sorted(set(stored)) and not
       [i for i, f in fate.items() if f == "delivered" and names[i - 1] not in stored],
       "what was told delivered is in the store, once")
    ok(not [i for i, f in fate.items() if f == "undelivered"], "nobody refused anything", counted)
    # Sent and without a fate at the kill: before the kill's first missing fate nothing is unknown,
    # and no more can have been sent than the window of what was not taken.
    gone = client.lines.index(client.told("disconnected")[0])
    settled = {e["id"] for e in client.lines[:gone] if e["event"] == "delivered"}
    unknown = [i for i, f in fate.items() if f == "unknown"]
    most = max(before) + WINDOW // SIZE
    ok(not set(unknown) & settled and max(unknown, default=0) <= most
       and len(unknown) <= most - len(settled),
       f"no more are unknown than were in flight: {len(unknown)} of {most - len(settled)}",
       (min(unknown, default=0), max(unknown, default=0), most))
    after = [e for e in client.lines[gone:] if e["event"] == "delivered"]
    ok(len(after) > 0 and again.told("message") and fate[MANY] == "delivered",
       f"the restarted server was found again, and the rest went on: {len(after)}", counted)
    ok(client.told("connected")[-1] is not client.told("connected")[0], "over a new connection")
    ok(code == (1 if unknown else 0), "the exit status tells whether all were delivered", code)
    repeated = [e["sha256"] for e in again.told("message")]
    ok(len(repeated) == len(set(repeated)), "the restarted server got nothing twice")
    ok(again.stop() == 0, "it ends with 0")


run_all(killed)
