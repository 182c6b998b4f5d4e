#!/usr/bin/env python3
"""Two hosts and any number of independent links between them, on this machine alone. Needs root.

    with Lab(paths=2) as lab:
        lab.paths[0].set("delay 10", "rate 50mbit")     # see tests/net/wire.c for the commands
        server = lab.right.popen([TBQ, "server", "--bind", f"{lab.right.ip4[0]}:8443"])
        lab.paths[0].set("down")                        # a black hole

Each host is a network namespace, each path a pair of veth interfaces with an emulator (wire)
between, and two subnets of its own, one of each IP version: what goes to an address of path 0 takes
path 0. Nothing has a name that another could have: namespaces are found by the process that holds
them, and all ends with this process, however that ends.

By hand: `tests/net/lab.py [PATHS]` as root says how to enter the hosts, and then takes lines such as
`0 delay 20` from standard input: a path's number, and a command for its wire. It ends with them.
"""

import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
WIRE = os.path.join(os.environ.get("builddir", os.path.join(HERE, "../../build")), "tests/net/wire")
WIRE = os.environ.get("WIRE", os.path.abspath(WIRE))
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
# Whatever starts it ends with us, also when nobody can say goodbye.
WITH_US = ["setpriv", "--pdeathsig", "KILL"]


class LabError(Exception):
    pass


def missing():
    """Why there can be no lab here, or None."""
    if os.geteuid() != 0:
        return "not root: it makes network namespaces"
    for program in ("ip", "nsenter", "unshare", "setpriv"):
        if shutil.which(program) is None:
            return f"there is no {program}"
    if not os.path.isdir("/proc/sys/net/ipv6"):
        return "this kernel has no IPv6"
    done = subprocess.run(["unshare", "--net", "ip", "link", "add", "name", "v0", "type", "veth",
                           "peer", "name", "v1"],
                          capture_output=True, text=True, check=False)
    return f"no network namespace: {done.stderr.strip()}" if done.returncode else None


class Space:
    """A network namespace, held by a process that does nothing, and what runs in it."""

    def __init__(self):
        self.holder = subprocess.Popen(
            [*WITH_US, "unshare", "--net", "sh", "-c",
             # No chatter and no wait before an address can be used.
             "for x in all default; do echo 0 >/proc/sys/net/ipv6/conf/$x/accept_dad;"
             " echo 0 >/proc/sys/net/ipv6/conf/$x/router_solicitations; done;"
             " ip link set lo up && echo ready && exec cat"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.processes = [self.holder]
        self.adopted = []
        if self.holder.stdout.readline() != "ready\n":
            raise LabError("a network namespace cannot be made")

    @property
    def enter(self):
        """What to put before a command that is to run here."""
        return ["nsenter", "--net", "--target", str(self.holder.pid)]

    def run(self, command, **more):
        """To its end, which must be a good one; what it printed."""
        done = subprocess.run([*self.enter, *command], capture_output=True, text=True, check=False,
                              **more)
        if done.returncode != 0:
            raise LabError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def popen(self, command, **more):
        """In the background; killed with the lab if it still runs then."""
        more.setdefault("stdin", subprocess.DEVNULL)
        process = subprocess.Popen([*WITH_US, *self.enter, *command], **more)
        self.processes.append(process)
        return process

    def adopt(self, process):
        """One that somebody else has started here, and reads from: killed with the lab too."""
        self.adopted.append(process)

    def socket(self, family, kind=socket.SOCK_DGRAM):
        """A socket of this host, in this process."""
        with open("/proc/thread-self/ns/net", "rb") as home, \
             open(f"/proc/{self.holder.pid}/ns/net", "rb") as there:
            if LIBC.setns(there.fileno(), CLONE_NEWNET) != 0:
                raise LabError(f"setns: {os.strerror(ctypes.get_errno())}")
            try:
                return socket.socket(family, kind)
            finally:
                LIBC.setns(home.fileno(), CLONE_NEWNET)

    def close(self):
        for process in self.adopted:
            if process.poll() is None:
                process.kill()
            process.wait()
        # The holder last: it is what the others are entered by.
        for process in reversed(self.processes):
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()


class Host(Space):
    """One end of all paths. ip4[i] and ip6[i] are its addresses on path i."""

    def __init__(self, number):
        super().__init__()
        self.number = number  # 1 or 2: the last part of its addresses
        self.ip4, self.ip6 = [], []

    def add_path(self, i, wires, inner):
        """Its interface `p<i>`, whose other end is `inner` among the wires."""
        me, name = self.number, f"p{i}"
        self.run(["ip", "link", "add", name, "address", f"02:00:00:00:{i:02x}:{me:02x}", "type",
                  "veth", "peer", "name", inner, "netns", str(wires.holder.pid)])
        self.run([WIRE, "plain", name])
        # Nobody asks for neighbours, or tells of groups: all frames are those of the programs.
        self.run(["ip", "link", "set", name, "arp", "off"])
        self.ip4.append(f"10.98.{i}.{me}")
        self.ip6.append(f"fd98:{i + 1:x}::{me}")
        self.run(["ip", "addr", "add", f"{self.ip4[i]}/24", "dev", name])
        self.run(["ip", "addr", "add", f"{self.ip6[i]}/64", "dev", name, "nodad"])
        self.run(["ip", "link", "set", name, "up"])

    def know(self, other, i):
        """So it has to know who is there."""
        for address in (other.ip4[i], other.ip6[i]):
            self.run(["ip", "neigh", "replace", address, "dev", f"p{i}", "nud", "permanent",
                      "lladdr", f"02:00:00:00:{i:02x}:{other.number:02x}"])


class Path:
    """One emulated link: "ab" is from the left host to the right one."""

    def __init__(self, wires, i):
        self.process = wires.popen([WIRE, f"l{i}", f"r{i}"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True)
        self.last = None  # counters, after the end
        self._answer("start")

    def _answer(self, command):
        text = self.process.stdout.readline().rstrip("\n")
        if text.startswith("error") or not text:
            raise LabError(text or f"the wire ended at `{command}`")
        return text

    def set(self, *commands):
        """Each counts for what is sent from now on."""
        for command in commands:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
            self._answer(command)

    def counters(self):
        """{"ab": {"in": ...}, "ba": ...}, see WAY_COUNTERS in tests/net/way.h."""
        self.process.stdin.write("counters\n")
        self.process.stdin.flush()
        return json.loads(self._answer("counters"))

    def end(self):
        """Takes the link away for good; its last counters."""
        self.process.stdin.close()
        self.last = json.loads(self.process.stdout.read())
        self.process.wait()
        return self.last


class Lab:
    def __init__(self, paths=1, commands=()):
        self.spaces, self.paths = [], []
        if not os.access(WIRE, os.X_OK):
            raise LabError(f"there is no {WIRE}: `make tests/net/wire` builds it")
        try:
            self.wires = self._space(Space())
            self.left = self._space(Host(1))
            self.right = self._space(Host(2))
            self.wires.run(["sh", "-c", "for x in all default; do"
                            " echo 1 >/proc/sys/net/ipv6/conf/$x/disable_ipv6; done"])
            for i in range(paths):
                self._add_path(i)
            for path in self.paths:
                path.set(*commands)
        except BaseException:
            self.close()
            raise

    def _space(self, space):
        self.spaces.append(space)
        return space

    def _add_path(self, i):
        for host, end in ((self.left, f"l{i}"), (self.right, f"r{i}")):
            host.add_path(i, self.wires, end)
            self.wires.run(["ip", "link", "set", end, "up"])
        self.left.know(self.right, i)
        self.right.know(self.left, i)
        self.paths.append(Path(self.wires, i))

    def close(self):
        # The hosts before what they are joined by.
        for space in reversed(self.spaces):
            space.close()
        self.spaces = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def by_hand(paths):
    with Lab(paths) as lab:
        for name, host in (("left", lab.left), ("right", lab.right)):
            print(f"{name}: {' '.join(host.enter)}   {' '.join(host.ip4 + host.ip6)}", flush=True)
        for line in sys.stdin:
            try:
                number, command = line.strip().split(maxsplit=1)
                path = lab.paths[int(number)]
                if command == "counters":
                    print(json.dumps(path.counters()), flush=True)
                else:
                    path.set(command)
            except (ValueError, IndexError):
                print(f"a path's number, 0..{paths - 1}, and a command, please", flush=True)
            except LabError as e:
                print(e, flush=True)


if __name__ == "__main__":
    reason = missing()
    if reason:
        sys.exit(reason)
    by_hand(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
