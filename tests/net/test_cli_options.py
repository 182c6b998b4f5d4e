#!/usr/bin/env python3
"""tbq's options: what is refused with which words, and which of two counts. TAP."""

import json
import os
import signal
import subprocess

from cli_help import TBQ, WAIT, Server, events, ok, run_all, tbq, write


def usage(_):
    ok(tbq()[0] == 2, "no command: exit 2")
    code, out, err = tbq("nothing")
    ok(code == 2 and '"nothing"' in err and "usage" in err and not out, "an unknown command", err)
    code, out, _ = tbq("nothing", "--json")
    ok(code == 2 and [e["event"] for e in events(out)] == ["error"], "as JSON it is one object", out)
    code, out, _ = tbq("--help")
    ok(code == 0 and all(c in out for c in ("server", "client", "keygen", "id")), "--help", out)
    code, out, _ = tbq("--version")
    ok(code == 0 and out.startswith("tbq 0.") and out.count("\n") == 1, "--version", out)
    for command in ("server", "client", "keygen", "id"):
        code, out, _ = tbq(command, "--help")
        ok(code == 0 and out.startswith("tbq " + command), f"{command} --help", out)


def bad_values(folder):
    store = write(os.path.join(folder, "file"), "x")
    cases = [
        # command line, and what the error must name
        (["server", "--no-such-option"], "--no-such-option"),
        (["client", "-x"], "-x"),
        (["client", "-xyz"], "-x"),
        (["keygen", "--bind", "127.0.0.1:0"], "--bind"),
        (["server", "--bind"], "--bind needs a value"),
        (["server", "extra"], "extra"),
        (["client", "127.0.0.1:1", "extra"], "extra"),
        (["server", "--bind", "nonsense"], '"nonsense"'),
        (["server", "--bind", "127.0.0.1:+80"], "127.0.0.1:+80"),
        (["server", "--bind", "127.0.0.1:65536"], "127.0.0.1:65536"),
        (["server", "--bind", "host.example:0"], "bind_address is \"host.example\""),
        (["server", "--mode", "both"], '--mode is "both"'),
        (["server", "--mode", "server", "--bootstrap", "127.0.0.1:1"], "bootstrap_nodes"),
        (["server", "--bootstrap", "nonsense"], 'bootstrap_nodes[0] is "nonsense"'),
        (["server", "--bootstrap", "host-:1"], "host-:1"),
        (["server", "--trust", "nobody"], '--trust is "nobody"'),
        (["server", "--trust", "allow:"], '--trust is "allow:"'),
        (["server", "--trust", "allow:/no/list"], "/no/list"),
        (["server", "--deny", "/no/list"], "/no/list"),
        (["server", "--store", "/no/folder"], "--store: /no/folder"),
        (["server", "--store", store], store),
        (["server", "--key", "k"], "cert_path"),
        (["server", "--cert", "c"], "key_path"),
        (["server", "--key", "k", "--cert", "c"], "not both"),  # with --state
        (["server", "--busy-poll", "0"], '--busy-poll is "0"'),
        (["server", "--busy-poll", "1000001"], "busy_poll_us is 1000001"),
        (["server", "--log-level", "loud"], '--log-level is "loud"'),
        (["server", "--congestion", "vegas"], '--congestion is "vegas"; it must be cubic, bbr or reno'),
        (["client", "--congestion", "BBR"], '--congestion is "BBR"'),
        (["server", "--receive-window-max", "1000"], "receive_window_max is 1000"),
        (["server", "--receive-budget", "1M"], '--receive-budget is "1M"'),
        (["client", "--outbox-bytes", "1000"], "outbox_bytes is 1000"),
        (["server", "--socket-buffer", "100"], "socket_buffer is 100"),
        (["client", "--log-level", "5"], '--log-level is "5"'),
        (["client", "nonsense"], "nonsense"),
        (["client", "tbq://abc@127.0.0.1:1"], "tbq://abc@127.0.0.1:1"),
        (["client", "--count", "0"], '--count is "0"'),
        (["client", "--count", "+1"], '--count is "+1"'),
        (["client", "--count", " 1"], '--count is " 1"'),
        (["client", "--count", ""], '--count is ""'),
        (["client", "--timeout", "1s"], '--timeout is "1s"'),
        (["client", "--timeout", "-1"], '--timeout is "-1"'),
        (["client", "--timeout", "99999999999"], '--timeout is "99999999999"'),
        (["client", "--send", "/no/file"], "/no/file"),
        (["client", "--send", folder], folder),
        (["client", "--send", "-", "--request", "-", "--output", "x"], "standard input"),
        (["client", "--output", "x"], "--request"),
        (["client", "--lines"], "--send"),
        (["id", "--state", "x", "--key", "y"], "--key"),
        (["id", "--key", "/no/key"], "/no/key"),
    ]
    for arguments, named in cases:
        more = []
        if arguments[0] == "server" and arguments[1:] != ["--cert", "c"] \
                and arguments[1:] != ["--key", "k"]:
            more = ["--state", os.path.join(folder, "state")]
        if arguments[0] == "server" and "--bind" not in arguments:
            more += ["--bind", "127.0.0.1:0"]
        arguments = [arguments[0], *more, *arguments[1:]]
        code, out, err = tbq(*arguments)
        good = code == 2 and named in err and not out and err.count("\n") == 1
        code, out, errj = tbq(arguments[0], "--json", *arguments[1:])
        try:
            told = json.loads(out)
        except ValueError:
            told = {}
        good = good and code == 2 and list(told) == ["event", "code", "text"] \
            and told["code"] < 0 and named in told["text"]
        ok(good, f"{' '.join(arguments[:1] + arguments[1 + len(more):])[:60]!r} is refused, naming it", err + out + errj)
    code, out, err = tbq("client", "--json", "--request", write(folder + "/r", "x"))
    ok(code == 2 and "--output" in out, "--json with --request needs --output", out + err)


def odd_names_and_ends(folder):
    name = os.fsencode(folder) + b"/\xff\xe4\xc3\xa4"
    code, out, err = tbq("client", "--json", "--send", name, text=False)
    told = json.loads(out)
    ok(code == 2 and told["text"].startswith(folder + "/\ufffd\ufffd\u00e4: "),
       "a name that is no Unicode is told in JSON", out + err)
    code, out, err = tbq("id", "--json", "--key", "/x" + "\u00e4" * 600)
    ok(code == 2 and "\u00e4\u00e4" in json.loads(out).get("text", ""),
       "so is a text that is cut inside a character", out + err)
    for arguments in (["--version"], ["--help"], ["server", "--help"], ["keygen", "--state",
                                                                       folder + "/k"]):
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([TBQ, *arguments], stdout=full, stderr=subprocess.PIPE,
                                  text=True, timeout=WAIT, check=False)
        ok(done.returncode == 2 and "standard output" in done.stderr,
           f"tbq {arguments[0]} whose output is lost says so", done.stderr)
    os.mkfifo(folder + "/fifo")
    code, out, err = tbq("client", "127.0.0.1:9", "--json", "--send", folder + "/fifo",
                         "--timeout", "200")
    ok(code == 1 and "200 ms" in out, "a pipe that nobody writes to is waited for till the timeout",
       out + err)
    sender = subprocess.Popen([TBQ, "client", "127.0.0.1:9", "--send", folder + "/fifo"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with open(folder + "/fifo", "wb"):  # opens when the other end is there: it is being read
        sender.send_signal(signal.SIGTERM)
        try:
            code = sender.wait(WAIT)
        except subprocess.TimeoutExpired:
            sender.kill()
    sender.communicate()
    ok(code == 0, "and a signal ends the waiting", code)


def twice(folder):
    server = Server(folder)
    a, b = (write(os.path.join(folder, n), n) for n in "ab")
    code, out, err = tbq("client", server.uri, "--count", "5", "--count", "2", "--json")
    ok(code == 0 and out.count('"pong"') == 2, "--count twice: the last counts", out + err)
    code, out, err = tbq("client", server.uri, "--send", a, "--send", b, "--json")
    ok(code == 0 and out.count('"delivered"') == 2, "--send twice: both count", out + err)
    code, out, err = tbq("client", "--send", a, server.uri, "--count", "1", "--json")
    ok(code == 0 and '"pong"' in out and '"delivered"' in out, "options and address in any order",
       out + err)
    code, out, err = tbq("keygen", "--state", folder + "/x", "--state", folder + "/y")
    ok(code == 0 and os.path.exists(folder + "/y/node.key") and not os.path.exists(folder + "/x"),
       "--state twice: the last counts", err)
    code, out, err = tbq("client", server.uri, "--log-level", "debug", "--json")
    ok(code == 0 and events(out) and err.startswith("tbq: "), "logs go to standard error", err[:200])
    code, _, err = tbq("client", server.uri, "--log-level", "error")
    ok(code == 0 and not err, "and there are as few as asked for", err)
    ok(server.stop() == 0, "the server ends with 0", server.err)


def flow(folder):
    most = int(open("/proc/sys/net/core/rmem_max", encoding="ascii").read()) \
        if os.path.exists("/proc/sys/net/core/rmem_max") else 0
    server = Server(folder, "127.0.0.1:0", "--congestion", "bbr", "--receive-window-max",
                    "4000000", "--receive-budget", "9000000", "--socket-buffer", "1073741824")
    for name in ("cubic", "bbr", "reno"):
        code, out, err = tbq("client", server.uri, "--congestion", name, "--outbox-bytes",
                             "2000000", "--json")
        ok(code == 0 and '"pong"' in out, f"--congestion {name}", out + err)
    told = "net.core.rmem_max" in server.log() or "maxsockbuf" in server.log()
    ok(told or most >= 1 << 30, "--socket-buffer: who asks for more than is granted is told",
       server.log())
    ok(server.stop() == 0, "the server ends with 0", server.err)


run_all(usage, bad_values, odd_names_and_ends, twice, flow)
