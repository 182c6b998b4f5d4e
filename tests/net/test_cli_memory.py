#!/usr/bin/env python3
"""tbq server is as large as what it has to do, not as what it once had to do. TAP."""

import os
import signal
import time

from cli_help import WAIT, Process, Server, ok, run_all, skip, tbq

CLIENTS = 40


def resident_kib(pid):
    """Without what is mapped from files: the program itself."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("RssAnon:"))


def crowd(server):
    """Clients that are connected, and stand still then."""
    clients = []
    for _ in range(CLIENTS):
        c = Process("client", server.uri, "--count", "1000000")
        clients.append(c)
        c.wait("pong")
        c.signal(signal.SIGSTOP)
    return clients


def gives_back(folder):
    what = "what a crowd needed is given back when it is gone"
    if os.environ.get("SANITIZERS") == "yes":
        skip(what, "sanitizers keep what was freed")
        return
    server = Server(folder)
    pid = server.process.pid
    tbq("client", server.uri)
    server.wait("disconnected")
    before = resident_kib(pid)
    clients = crowd(server)
    many = resident_kib(pid)
    for c in clients:
        c.signal(signal.SIGTERM)
        c.signal(signal.SIGCONT)
    server.wait("disconnected", many=1 + CLIENTS)
    enough = many - (many - before) / 4  # by itself glibc gives next to nothing back
    guard = time.monotonic() + WAIT
    while (after := resident_kib(pid)) > enough and time.monotonic() < guard:
        time.sleep(0.1)
    ok(after <= enough, what, f"{before} KiB before, {many} with {CLIENTS} clients, {after} after")
    print(f"# {before} KiB before, {many} with {CLIENTS} clients, {after} after")
    for c in clients:
        c.end()
    server.stop()


run_all(gives_back)
