#!/usr/bin/env python3
"""bindings/haskell is built with Debian's ghc alone, and its server and client talk to tbq. TAP.

Where namespaces can be had, all runs in one of its own: the document's snippets and test modes
speak of port 8443."""

import glob
import os
import shutil
import signal
import subprocess
import sys

SRC = os.environ["srcdir"]
sys.path.insert(0, SRC + "/tests/net")
from cli_help import TBQ, WAIT, Server, ok, run_all, sha256, skip, tbq, write  # noqa: E402

LIB = os.environ["builddir"] + "/lib/.libs"
OWN = "TBQ_TEST_OWN_NAMESPACE"
INSIDE = ["unshare", "--map-root-user", "--net", "sh", "-c",
          'ip link set lo up && exec "$@"', "sh"]
STORIES = ["the package", "its server and tbq client", "tbq server and its client",
           "the document's test script", "the document's snippets"]
package = os.path.join(os.getcwd(), "package")
env = {**os.environ, "LD_LIBRARY_PATH": LIB, "LC_ALL": "C.UTF-8",
       "GHC_PACKAGE_PATH": package + "/db:"}


def missing():
    """Why nothing can be done here, or None."""
    if shutil.which("ghc") is None or shutil.which("hsc2hs") is None:
        return "ghc is missing"
    if subprocess.run(["ghc-pkg", "describe", "network"], capture_output=True,
                      check=False).returncode != 0:
        return "ghc's network package is missing (libghc-network-dev)"
    if os.environ.get("SANITIZERS") == "yes":
        return "a Haskell program cannot hold the sanitizers"
    if not glob.glob(LIB + "/libtbquic.so"):
        return "there is no shared library"
    return None


def haskell(*command):
    """Runs it to its end: exit status, and all that it said."""
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False,
                          timeout=2 * WAIT, cwd=package)
    return done.returncode, done.stdout + done.stderr


class Running:
    """A program of the package; its first line says that it is ready."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, env=env, cwd=package)
        self.first = self.process.stdout.readline().strip()

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)
        rest, _ = self.process.communicate(timeout=WAIT)
        return self.process.returncode, rest


def program(name):
    return f"{package}/dist/build/{name}/{name}"


def build(_):
    shutil.copytree(SRC + "/bindings/haskell", package)
    for path in [package, *glob.glob(package + "/**", recursive=True)]:
        os.chmod(path, os.stat(path).st_mode | 0o200)  # the source folder may be read-only
    del env["GHC_PACKAGE_PATH"]  # Cabal wants to be told itself
    steps = [["ghc-pkg", "init", "db"],
             ["runghc", "Setup.hs", "configure", "--package-db=db", "--prefix=" + package,
              "--enable-tests", "--extra-include-dirs=" + SRC + "/include",
              "--extra-lib-dirs=" + LIB, "-O0", "--ghc-options=-Werror"],
             ["runghc", "Setup.hs", "build"], ["runghc", "Setup.hs", "copy"],
             ["runghc", "Setup.hs", "register"]]
    for step in steps:
        status, said = haskell(*step)
        if status != 0:
            break
    env["GHC_PACKAGE_PATH"] = package + "/db:"
    ok(status == 0, "the package is built with Debian's ghc alone, without a warning", said)
    if status != 0:
        print(f"Bail out! {step}")
        sys.exit(1)
    status, said = haskell(program("api"))
    tap = [line for line in said.splitlines() if "ok " in line[:7]]
    ok(len(tap) > 15 and all(line.startswith("ok ") for line in tap) and status == 0,
       "two servers in one process do what the binding promises", said)


def their_client(folder):
    server = Running(program("test-quic"), "server", "0")
    uri = server.first.rsplit(" ", 1)[-1]
    file, out = write(folder + "/file", b"0123456789" * 1000), folder + "/out"
    status, told, err = tbq("client", uri, "--count", "2", "--send", file, "--request", file,
                            "--output", out)
    ok(status == 0 and "delivered" in told, "tbq client pings, sends and asks a Haskell server",
       told + err)
    with open(out, "rb") as f:
        ok(sha256(f.read()) == sha256(b"0123456789" * 1000), "the answer is what was asked with")
    status, _, err = tbq("client", uri.replace("tbq://" + uri[6:58], "tbq://" + "a" * 52))
    ok(status == 1, "its key is the one that its address pins", err)
    status, said = haskell(program("test-quic"), "server", uri.rsplit(":", 1)[1])
    ok(status == 1 and "TBQ_ERR_IO: " in said, "a port in use is an exception that names it", said)
    status, said = server.interrupt()
    ok(status == 0 and "message: 10000 bytes" in said and said.endswith("stopped\n"),
       "it took the message, and stops with 0 on Ctrl-C", said)


def their_server(folder):
    server = Server(folder, store=True)
    status, said = haskell(program("test-quic"), "client", server.port)
    ok(status == 0 and "connected\npong after " in said and "message: Delivered" in said,
       "a Haskell client pings and sends to tbq server", said)
    ok(server.stored() == [sha256(b"a message from Haskell")], "the server has the message")
    ok(server.stop() == 0, "the server ends with 0", server.err)


def script(folder):
    server = Running("./scripts/test-quic.hs", "server")
    ok("127.0.0.1:8443" in server.first, "./scripts/test-quic.hs server", server.first)
    status, said = haskell("./scripts/test-quic.hs", "client")
    ok(status == 0 and "Delivered" in said, "./scripts/test-quic.hs client", said)
    status, said, err = tbq("client")
    ok(status == 0 and "pong" in said, "tbq client, without arguments, finds it too", said + err)
    ok(server.interrupt()[0] == 0, "Ctrl-C ends it")
    server = Server(folder, "127.0.0.1:8443")
    status, said = haskell("./scripts/test-quic.hs", "client")
    ok(status == 0 and "Delivered" in said, "the client finds tbq server", said)
    server.stop()


def snippets(folder):
    server = Running(program("snippets"), "server")
    status, said, err = tbq("client")
    ok(status == 0 and "pong" in said, "the first starts a server that tbq client pings", said + err)
    status, said = haskell(program("snippets"), "client")
    ok(status == 0 and "pong" in said, "and the others a client of it", said)
    server.process.terminate()
    server.process.communicate()
    server = Server(folder, "127.0.0.1:8443")
    status, said = haskell(program("snippets"), "client")
    ok(status == 0 and {"connected", "pong", "broadcast (1,0,0)"} <= set(said.splitlines()),
       "the others connect, send and broadcast to tbq server", said)
    server.stop()


def main():
    why = missing()
    if why:
        for story in STORIES:
            skip(story, why)
        print(f"1..{len(STORIES)}")
        return
    if OWN not in os.environ:
        probe = subprocess.run([*INSIDE, "true"], capture_output=True, check=False)
        if probe.returncode == 0:
            os.environ[OWN] = "yes"
            os.execvp(INSIDE[0], [*INSIDE, sys.executable, os.path.abspath(__file__)])
        def unable(_):
            skip(STORIES[3], "no namespaces here")
            skip(STORIES[4], "no namespaces here")
        run_all(build, their_client, their_server, unable)
    run_all(build, their_client, their_server, script, snippets)


main()
