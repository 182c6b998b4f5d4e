#!/usr/bin/env python3
"""Keys as operators meet them: where they are, who may read them, and what is refused. TAP."""

import os
import shutil
import subprocess

from cli_help import Server, environment, events, ok, run_all, tbq, write


def making(folder):
    state = os.path.join(folder, "a", "b")
    code, made, err = tbq("keygen", "--state", state)
    ok(code == 0 and len(made.strip()) == 52, "keygen tells the peer id", err)
    ok(os.stat(state + "/node.key").st_mode & 0o777 == 0o600, "the key is nobody else's to read")
    code, out, err = tbq("keygen", "--state", state)
    ok(code == 2 and "node.key" in err, "keygen never overwrites, and says what is there", err)
    ok(tbq("id", "--state", state)[1] == made and tbq("id", "--key", state + "/node.key")[1] == made,
       "id tells the same, by folder and by file")
    code, out, _ = tbq("id", "--state", state, "--json")
    ok(code == 0 and events(out) == [{"event": "id", "peer_id": made.strip(),
                                      "file": state + "/node.key"}], "id as JSON", out)
    code, out, _ = tbq("keygen", "--state", folder + "/c", "--json")
    ok(code == 0 and list(events(out)[0]) == ["event", "peer_id", "file"], "keygen as JSON", out)
    server = Server(folder, "127.0.0.1:0", "--state", state)
    ok(server.ready.get("peer_id") == made.strip(), "and a server there is that node", server.ready)
    ok(server.stop() == 0, "it ends with 0")


def places(folder):
    def where(env):
        code, out, err = tbq("keygen", "--json", env=environment(env))
        told = events(out)[0]
        return (told["file"].removeprefix(folder) if code == 0 else (code, told["text"]))
    home, xdg, state = (os.path.join(folder, n) for n in ("home", "xdg", "state"))
    env = {"HOME": home, "XDG_STATE_HOME": xdg, "STATE_DIRECTORY": state + ":/other"}
    ok(where(env) == "/state/node.key", "$STATE_DIRECTORY comes first, its first folder", where(env))
    del env["STATE_DIRECTORY"]
    ok(where(env) == "/xdg/tbquic/node.key", "then $XDG_STATE_HOME/tbquic", where(env))
    del env["XDG_STATE_HOME"]
    ok(where(env) == "/home/.local/state/tbquic/node.key", "then ~/.local/state/tbquic", where(env))
    code, text = where({})
    ok(code == 2 and "--state" in text, "none: an error that helps", text)
    for arguments in (["id"], ["server", "--bind", "127.0.0.1:0"]):
        code, _, err = tbq(*arguments, env=environment())
        ok(code == 2 and "--state" in err, f"the same for {arguments[0]}", err)


def refused(folder):
    state, other = folder + "/state", folder + "/other"
    _, made, _ = tbq("keygen", "--state", state)
    tbq("keygen", "--state", other)
    key = state + "/node.key"

    def both(what, named, *arguments):
        code, out, err = tbq(*arguments)
        ok(code == 2 and named in err and not out, what, err)
    os.chmod(key, 0o640)
    both("a key that others may read: what to do", "chmod 600", "id", "--state", state)
    both("the same for a server", "chmod 600", "server", "--state", state, "--bind", "127.0.0.1:0")
    os.chmod(key, 0o600)
    both("a certificate of another key", "node.key", "client", "127.0.0.1:1", "--key", key,
         "--cert", other + "/node.crt")
    write(folder + "/junk", "no key\n")
    os.chmod(folder + "/junk", 0o600)
    both("a file that is no key", "junk", "id", "--key", folder + "/junk")
    both("a folder", "a folder", "id", "--key", folder)
    for kind in (["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
                 ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]):
        name = f"{folder}/{kind[0]}.pem"
        done = subprocess.run(["openssl", "genpkey", "-algorithm", *kind, "-out", name],
                              capture_output=True, check=False)
        os.chmod(name, 0o600)
        code, _, err = tbq("id", "--key", name)
        ok(done.returncode == 0 and code == 2 and "Ed25519" in err and name in err,
           f"a key of type {kind[0]}", err)
    code, out, err = tbq("server", "--key", key, "--cert", state + "/node.crt", "--store", "/no")
    ok(code == 2, "nothing was started meanwhile", err)


def shared(folder):
    server = Server(folder)
    code, _, err = tbq("server", "--bind", "127.0.0.1:0", "--state", server.state)
    ok(code == 2 and "node.key" in err and "in use" in err, "a second server on one key", err)
    code, _, err = tbq("client", server.uri, "--state", server.state)
    ok(code == 2 and "in use" in err, "a client on a server's key", err)
    code, out, _ = tbq("id", "--state", server.state)
    ok(code == 0 and out.strip() == server.ready["peer_id"], "looking at it is allowed", out)
    copy = folder + "/copy"
    shutil.copytree(server.state, copy)
    code, out, err = tbq("client", server.uri, "--state", copy, "--json")
    ok(code == 0 and any(e["event"] == "warning" and "own key" in e["text"] for e in events(out)),
       "a copy of the key elsewhere: the client says so", out + err)
    told = server.wait("warning") or {}
    ok("own key" in told.get("text", ""), "and so does the server", told)
    ok(server.stop() == 0, "it ends with 0")
    code, _, err = tbq("client", "127.0.0.1:1", "--timeout", "200", "--state", server.state)
    ok(code == 1, "a server that ended has let go of its key", err)

    node = Server(folder + "/n")
    port = node.port
    node.stop()
    node = Server(folder + "/n", f"127.0.0.1:{port}", "--bootstrap", f"127.0.0.1:{port}")
    told = node.wait("warning") or {}
    ok(f"127.0.0.1:{port}" in told.get("text", "") and "itself" in told.get("text", ""),
       "a node that reaches itself says so, naming the address", told)
    ok(node.stop() == 0 and len(node.told("warning")) == 1, "once", node.told("warning"))


def tickets(folder):
    server = Server(folder)
    state = folder + "/client"
    path = state + "/tickets"
    code, _, err = tbq("client", server.uri, "--state", state)
    ok(code == 0 and os.stat(path).st_mode & 0o777 == 0o600, "a client's tickets are its own", err)
    with open(path, "rb") as f:
        first = f.read()
    code, _, err = tbq("client", server.uri, "--state", state)
    with open(path, "rb") as f:
        ok(code == 0 and not err and f.read() != first, "new ones take the place of the old", err)
    for what, spoil in (("damaged", lambda: write(path, "tbq tickets 1\nnonsense")),
                        ("another's", lambda: write(path, "my shopping list")),
                        ("open to others", lambda: os.chmod(path, 0o644))):
        spoil()
        code, _, err = tbq("client", server.uri, "--state", state)
        ok(code == 0 and path in err, f"a file that is {what}: said, and done without", err)
        ok(os.stat(path).st_mode & 0o777 == 0o600, "and a new one is there")
        code, _, err = tbq("client", server.uri, "--state", state)
        ok(code == 0 and not err, "which is good", err)
    ok(server.stop() == 0, "the server ends with 0")


run_all(making, places, refused, shared, tickets)
