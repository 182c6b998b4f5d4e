#!/usr/bin/env python3
"""The example programs do what they say: built as a user would build them, run against one another
and against tbq, over loopback. And the programs that README.md and libtbquic(3) show compile.

Prints TAP.
"""

import hashlib
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time

SRC = os.environ["srcdir"]
BUILD = os.environ["builddir"]
TBQ = os.environ["TBQ"]
CC = shlex.split(os.environ.get("CC", "cc"))
CXX = shutil.which("c++")
EV = os.environ.get("EV", "yes") == "yes"
GUARD_S = 60  # how long anything may take before it counts as stuck

results = []
running = []


def ok(what, good, why=""):
    results.append(good)
    print(f"{'ok' if good else 'not ok'} {len(results)} - {what}", flush=True)
    if not good and why:
        print("# " + str(why).replace("\n", "\n# "), flush=True)
    return good


def skip(what, why):
    results.append(True)
    print(f"ok {len(results)} - {what} # SKIP {why}", flush=True)


class Program:
    """A process of ours, read line by line."""

    def __init__(self, *command, stdin=subprocess.DEVNULL):
        self.process = subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.text = b""
        running.append(self)

    def until(self, pattern):
        """Waits for a line that matches; the match, or None when it ends or the time is over."""
        end = time.monotonic() + GUARD_S
        at = 0
        while True:
            while b"\n" in self.text[at:]:
                stop = self.text.index(b"\n", at)
                line = self.text[at:stop].decode(errors="replace")
                at = stop + 1
                if m := re.search(pattern, line):
                    return m
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                return None
            piece = os.read(self.process.stdout.fileno(), 65536)
            if not piece:
                return None
            self.text += piece

    def wait(self):
        out, _ = self.process.communicate(timeout=GUARD_S)
        self.text += out or b""
        return self.process.returncode

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.wait()


def call(*command, **options):
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, timeout=GUARD_S, check=False, **options,
    )


def example(name):
    return os.path.join(BUILD, "examples", name)


def read(*path):
    with open(os.path.join(SRC, *path), encoding="utf-8") as f:
        return f.read()


# --- Compiled as a user would ---


def compiles(what, compiler, flags, source):
    done = call(*compiler, *flags, "-Wall", "-Wextra", "-Werror",
                f"-I{SRC}/include", "-fsyntax-only", source)
    ok(what, done.returncode == 0, done.stderr)


def sources_compile():
    for name in sorted(os.listdir(os.path.join(SRC, "examples"))):
        if not name.endswith(".c"):
            continue
        if name == "server_ev.c" and not EV:
            skip(f"{name} compiles by a plain cc", "built without libev")
            continue
        compiles(f"{name} compiles by a plain cc", CC, ["-std=c11"], f"{SRC}/examples/{name}")


PROLOGUE = """
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <tbquic/tbquic.h>
void die(const char *why);
void settle(uint64_t tag, tbq_fate fate, int reason);
void retry(const tbq_peer_id *peer);
void show(const char *uri, tbq_peer_id id, tbq_message m, struct pollfd mine, sigset_t sigmask,
          bool full, tbq_answer answer, bool quit);
void show(const char *uri, tbq_peer_id id, tbq_message m, struct pollfd mine, sigset_t sigmask,
          bool full, tbq_answer answer, bool quit)
{
%s
}
"""


def readme_program():
    code = re.search(r"```c\n(.*?)```", read("README.md"), re.S).group(1)
    with open("readme.c", "w", encoding="utf-8") as f:
        f.write(PROLOGUE % code)
    compiles("the program in README.md compiles", CC, ["-std=c11"], "readme.c")


def manual_programs():
    page = read("man", "libtbquic.3")
    codes = re.findall(r"\.Bd -literal[^\n]*\n(.*?)\.Ed", page, re.S)
    ok("libtbquic(3) shows a program", len(codes) > 0)
    for i, code in enumerate(codes):
        with open(f"manual{i}.c", "w", encoding="utf-8") as f:
            f.write(code.replace("\\e", "\\").replace("\\&", ""))
        compiles(f"program {i + 1} in libtbquic(3) compiles", CC, ["-std=c11"], f"manual{i}.c")


# --- Run ---


def manual_program_runs():
    what = "the program in libtbquic(3) delivers a message"
    lib = os.path.join(BUILD, "lib", ".libs")
    if os.environ.get("SANITIZERS") == "yes" or not os.path.exists(f"{lib}/libtbquic.so"):
        skip(what, "no shared library in this build")
        return
    built = call(*CC, "manual0.c", "-o", "manual0", f"-I{SRC}/include", f"-L{lib}",
                 "-ltbquic", f"-Wl,-rpath,{lib}")
    server, uri = tbq_server()
    done = call("./manual0", uri) if built.returncode == 0 else built
    ok(what, done.returncode == 0 and done.stdout == "delivered\n", done.stdout + done.stderr)
    server.stop()


def tbq_server(*options):
    p = Program(TBQ, "server", "--bind", "127.0.0.1:0", "--json", *options,
                "--state", os.path.join(os.getcwd(), "state"))
    m = p.until(r'"event": ?"ready".*"uri": ?"([^"]+)"')
    return p, m.group(1) if m else ""


def poll_talks_to_tbq():
    os.makedirs("store")
    server, uri = tbq_server("--store", "store")
    p = Program(example("poll"), uri, stdin=subprocess.PIPE)
    ok("poll prints its own address", p.until(r"^tbq://[a-z2-7]{52}@127\.0\.0\.1:\d+$"))
    ok("poll: its message is delivered, by its tag", p.until(r"^message 7: delivered$"), p.text)
    p.process.stdin.write(b"a line\n")
    p.process.stdin.flush()
    ok("poll: a line of its input is delivered", p.until(r"^message 8: delivered$"), p.text)
    p.process.stdin.close()
    p.process.stdin = None
    ok("poll ends with its input, status 0", p.wait() == 0, p.text)
    want = {hashlib.sha256(b).hexdigest() for b in (b"hello", b"a line\n")}
    ok("what it sent is what the server stored", want == set(os.listdir("store")))
    ok("the server ends well", server.stop() == 0)


def poll_receives():
    server, uri = tbq_server()
    p = Program(example("poll"), uri, stdin=subprocess.PIPE)
    own = p.until(r"^(tbq://\S+)$")
    p.until(r"^message 7: delivered")
    sent = call(example("client"), own.group(1), "one", "three")
    ok("client: all delivered, status 0", sent.returncode == 0, sent.stdout + sent.stderr)
    ok("client tells each fate", sent.stdout.split("\n")[:2] == ["one: delivered ", "three: delivered "],
       sent.stdout)
    ok("poll takes what the client sent", p.until(r"^5 bytes$") is not None, p.text)
    asked = call(example("request"), own.group(1), "what?")
    ok("request: the answer comes on standard output",
       asked.returncode == 0 and asked.stdout == "what?", asked.stdout + asked.stderr)
    p.process.send_signal(signal.SIGTERM)
    ok("poll stops by SIGTERM, status 0", p.wait() == 0, p.text)
    server.stop()


def libev_server():
    if not EV:
        skip("server_ev answers", "built without libev")
        return
    p = Program(example("server_ev"))
    uri = p.until(r"^(tbq://\S+)$").group(1)
    pinged = call(TBQ, "client", uri, "--count", "2")
    ok("tbq pings server_ev", pinged.returncode == 0, pinged.stderr)
    sent = call(example("client"), uri, "12345")
    ok("server_ev takes a message", sent.returncode == 0 and p.until(r"^5 bytes$"), sent.stderr)
    asked = call(example("request"), uri, "echo")
    ok("server_ev answers a request", asked.stdout == "echo", asked.stderr)
    p.process.send_signal(signal.SIGINT)
    ok("server_ev stops by SIGINT, status 0", p.wait() == 0, p.text)


def refusals():
    nobody = "tbq://" + "a" * 52 + "@127.0.0.1:9"
    for name, args in (("client", ["127.0.0.1:1"]), ("request", []), ("poll", [])):
        done = call(example(name), *args)
        ok(f"{name} without arguments: status 2 and its usage",
           done.returncode == 2 and "usage" in done.stderr, done.stderr)
    done = call(example("client"), "not an address", "x")
    ok("client: an address that is none: status 2, and why",
       done.returncode == 2 and "address" in done.stderr, done.stderr)
    done = call(example("client"), nobody, "x")
    ok("client: nobody there: status 1, and the fate",
       done.returncode == 1 and "x: not delivered" in done.stdout, done.stdout + done.stderr)
    done = call(example("request"), nobody, "x")
    ok("request: nobody there: status 1, and why", done.returncode == 1 and done.stderr != "",
       done.stderr)


def main():
    try:
        sources_compile()
        readme_program()
        manual_programs()
        manual_program_runs()
        poll_talks_to_tbq()
        poll_receives()
        libev_server()
        refusals()
    finally:
        for p in running:
            if p.process.poll() is None:
                p.process.kill()
                p.process.wait()
    print(f"1..{len(results)}")
    return 0 if all(results) else 1


sys.exit(main())
