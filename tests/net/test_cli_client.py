#!/usr/bin/env python3
"""tbq client: each message has one fate line whatever ends it, and the error comes last. TAP."""

import os
import signal
import subprocess

from cli_help import TBQ, WAIT, Process, Server, events, fates, ok, run_all, sha256, tbq, write

MANY = 20000  # several times what the outbox holds


def lines(folder, n=MANY):
    return write(os.path.join(folder, "lines"), "".join(f"line {i} of many\n" for i in range(n)))


def good(folder):
    server = Server(folder)
    code, out, err = tbq("client", server.uri, "--count", "3", "--json")
    pongs = [e for e in events(out) if e["event"] == "pong"]
    ok(code == 0 and len(pongs) == 3 and all(list(p) == ["event", "rtt_ms"] and p["rtt_ms"] > 0
                                             for p in pongs), "three pings", out + err)
    code, out, err = tbq("client", server.uri, "--lines", "--send", lines(folder), "--count", "2",
                         "--json")
    told = [e["id"] for e in events(out) if e["event"] == "delivered"]
    ok(code == 0 and told == list(range(1, MANY + 1)) and out.count('"pong"') == 2,
       "more lines than the outbox holds, and pings beside them", out[-300:] + err)
    hashes = [e["sha256"] for e in server.told("message")]
    ok(hashes == [sha256(f"line {i} of many".encode()) for i in range(MANY)],
       "they came once each, in order", len(hashes))
    code, out, err = tbq("client", server.uri, "--send", "-", "--json", stdin="typed\n")
    ok(code == 0 and server.wait("message", many=MANY + 1)["sha256"] == sha256(b"typed\n"),
       "standard input is one message", out + err)
    code, out, err = tbq("client", server.uri, "--send", "/dev/null", "--json")
    ok(code == 0 and server.wait("message", many=MANY + 2)["size"] == 0, "an empty one too", out + err)
    code, out, err = tbq("client", server.uri, "--lines", "--send", "/dev/null", "--json")
    ok(code == 0 and not fates(events(out))[0]["delivered"], "no lines: nothing to do, 0", out + err)
    big = write(folder + "/big", b"x" * (1 << 20) + b"y")
    code, out, err = tbq("client", server.uri, "--send", big, "--send", "/dev/null", "--json")
    told = [(e["event"], e["id"]) for e in events(out) if "id" in e and e["event"] != "progress"]
    come = server.wait("message", many=MANY + 3)
    ok(code == 0 and told == [("delivered", 1), ("delivered", 2)] and come["kind"] == "body"
       and come["sha256"] == sha256(b"x" * (1 << 20) + b"y"),
       "what is too large for a message goes in parts", (out, err, come))
    code, out, err = tbq("client", server.uri, "--lines", "--send", big, "--json")
    ok(code == 0 and server.wait("message", many=MANY + 5)["sha256"] == come["sha256"],
       "so does a line", out + err)
    ok(server.stop() == 0, "the server ends with 0")


def asking(folder):
    server = Server(folder)
    path = write(folder + "/q", "what?")
    code, out, err = tbq("client", server.uri, "--request", path, "--send", path)
    ok(code == 1 and not out and "answers no requests" in err and "message 1: delivered" in err,
       "a refused request: exit 1, and nothing but an answer goes to standard output", out + err)
    code, out, err = tbq("client", server.uri, "--request", "-", "--output", folder + "/a", "--json",
                         stdin="what?\n")
    told = events(out)
    ok(code == 1 and [e["event"] for e in told] == ["connected", "error"]
       and not os.path.exists(folder + "/a"), "the same as JSON", out + err)
    server.stop()


def nobody(folder):
    path = lines(folder)
    server = Server(folder)
    first = "b" if server.uri[6] == "a" else "a"
    for what, to, ms, code_told in (
            ("refused", "tbq://" + first + server.uri[7:], "60000", -10),  # long before that
            ("nobody there in time", "127.0.0.1:1", "4000", -9)):
        code, out, err = tbq("client", to, "--lines", "--send", path, "--count", "1", "--timeout",
                             ms, "--json")
        told = events(out)
        counted, once = fates(told)
        ok(code == 1 and once and counted["undelivered"] == MANY and len(told) == MANY + 1,
           f"{what}: every message is not delivered, once", (counted, told[-2:], err))
        ok(told[-1]["event"] == "error" and list(told[-1]) == ["event", "code", "text"]
           and told[-1]["code"] == code_told, "and the error comes last", told[-2:])
    server.stop()


def hung(folder, then):
    """A client in the midst of its messages, whose server, a slow one, does not move any more."""
    server = Server(folder, store=True)
    client = Process("client", server.uri, "--lines", "--send", lines(folder), *then)
    client.wait("delivered", many=10)
    server.signal(signal.SIGSTOP)
    return server, client


def let_go(server):
    server.signal(signal.SIGKILL)  # to go on it would have to store what it holds
    server.end()


def stopping(folder):
    server, client = hung(folder + "/a", [])
    client.signal(signal.SIGTERM)
    code = client.end()
    counted, once = fates(client.lines)
    ok(code == 0 and once and sum(counted.values()) == MANY and counted["undelivered"] > 0,
       "SIGTERM: every message has its fate, exit 0", (code, counted, client.err))
    ok(not client.told("error"), "what was asked for is no error", client.told("error"))
    let_go(server)

    server, client = hung(folder + "/b", [])
    client.signal(signal.SIGINT)
    # The first is seen when the next signal is sent only once it was read: ask until it ends.
    while client.process.poll() is None:
        client.signal(signal.SIGINT)
    ok(client.end() == 130, "the second signal ends it at once, with 130")
    let_go(server)

    server, client = hung(folder + "/c", ["--timeout", "2500"])
    code = client.end()
    counted, once = fates(client.lines)
    ok(code == 1 and once and sum(counted.values()) == MANY and client.lines[-1]["event"] == "error"
       and "2500 ms" in client.lines[-1]["text"], "--timeout: every fate, then the error, exit 1",
       (code, counted, client.lines[-1]))
    let_go(server)

    client = Process("client", "127.0.0.1:1", "--send", "-", "--timeout", "200",
                     stdin=subprocess.PIPE)
    ok(client.end() == 1 and client.lines[-1]["event"] == "error",
       "--timeout also ends the waiting for standard input", client.lines)


def unheard(folder):
    server = Server(folder)
    read, to = os.pipe()
    with subprocess.Popen([TBQ, "client", server.uri, "--lines", "--send", lines(folder), "--json"],
                          stdout=to, stderr=subprocess.PIPE, text=True) as client:
        os.close(to)
        os.read(read, 10)
        os.close(read)
        ok(client.wait(WAIT) == 2 and "standard output" in client.stderr.read(),
           "nobody reads its lines: it says so on standard error, and stops, exit 2")
    server.stop()


def folders(*stories):
    """hung() wants its folders made."""
    def story(folder):
        for name in "abc":
            os.mkdir(os.path.join(folder, name))
        for s in stories:
            s(folder)
    story.__name__ = stories[0].__name__
    return story


run_all(good, asking, nobody, folders(stopping), unheard)
