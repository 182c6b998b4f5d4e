#!/usr/bin/env python3
"""ngtcp2's example client and server, built with GnuTLS, against tbq. TAP.

They speak HTTP/3 only. As they are, their handshakes end at the name of the protocol; with
ngtcp2_alpn.c before them the handshake goes through, certificates and sessions included, and nothing
is said on streams. So these are tests of QUIC and TLS; those of tbq/1 are with aioquic."""

import os
import re
import subprocess
import threading

import aioquic_here

STORIES = ["the client as it is", "the client with our ALPN name", "a session", "a Retry under load",
           "the server as it is", "the server with our ALPN name"]
CLIENT = aioquic_here.unpacked_program("gtlsclient")
SERVER = aioquic_here.unpacked_program("gtlsserver")

from cli_help import WAIT, Process, Server, ok, run_all, skip, tbq  # noqa: E402

SHIM = os.path.join(os.getcwd(), "ngtcp2_alpn.so")
CLOSED = r"frm rx .* CONNECTION_CLOSE\(0x1[cd]\) error_code=\S*\(0x([0-9a-f]+)\)"
CONFIRMED = "QUIC handshake has been confirmed"
NO_APPLICATION_PROTOCOL, NO_CERTIFICATE = "178", "5"
FLOOD = 140  # handshakes under way; from 128 on clients prove their address


class Program:
    """One of theirs; its lines are read by a thread."""

    def __init__(self, *command, shim=False):
        env = {**os.environ, **({"LD_PRELOAD": SHIM} if shim else {})}
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, env=env, encoding="utf-8",
                                        errors="replace")
        self.lines, self.over = [], False
        self.news = threading.Condition()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            with self.news:
                self.lines.append(line.rstrip())
                self.news.notify_all()
        with self.news:
            self.over = True
            self.news.notify_all()

    def find(self, pattern):
        """The first match in what it said so far."""
        return re.search(pattern, "\n".join(self.lines))

    def wait(self, pattern):
        with self.news:
            self.news.wait_for(lambda: self.over or self.find(pattern), WAIT)
        return self.find(pattern)

    def end(self):
        """What it said in all."""
        self.process.terminate()
        self.process.wait(WAIT)
        self.thread.join(WAIT)
        return "\n".join(self.lines[-60:])


def client(server, *options, shim=True):
    return Program(CLIENT, "--no-quic-dump", "--no-http-dump", *options, "127.0.0.1", server.port,
                   shim=shim)


def identity(folder):
    """The options for a certificate that tbq made, its files, and its peer id."""
    _, peer, _ = tbq("keygen", "--state", folder + "/key")
    cert, key = folder + "/key/node.crt", folder + "/key/node.key"
    return ["--cert", cert, "--key", key], (key, cert), peer.strip()


def as_it_is(folder):
    server = Server(folder)
    one = client(server, *identity(folder)[0], shim=False)
    code = one.wait(CLOSED)
    ok(code and code[1] == NO_APPLICATION_PROTOCOL,
       "ngtcp2's client offers h3: no_application_protocol", one.end())
    two = client(server, "--version=0x1a2a3a4a", shim=False)
    two.wait("RECV_VERSION_NEGOTIATION")
    ok(two.find(r"VN v=0x00000001") and two.find(r"VN v=0x6b3343cf"),
       "an unknown version: Version Negotiation lists v1 and v2", two.end())
    code, out, err = tbq("client", server.uri)
    ok(code == 0 and server.stop() == 0, "others are served", out + err)


def with_our_name(folder):
    server = Server(folder)
    mine = identity(folder)[0]
    for version, number in (("v1", 0x1), ("v2", 0x6b3343cf)):
        one = client(server, "--version=" + version, *mine)
        ok(one.wait(CONFIRMED) and one.find("Negotiated cipher suite is AES-128-GCM") and
           one.find("Negotiated group is X25519") and
           one.find(f"the negotiated version is {number:#010x}"),
           f"with tbq/1 and a certificate, the handshake is confirmed, QUIC {version}", one.end())
        limits = [one.find(r"remote transport_parameters initial_max_streams_bidi=(\d+)"),
                  one.find(r"remote transport_parameters initial_max_streams_uni=(\d+)"),
                  one.find(r"remote transport_parameters initial_max_stream_data_uni=(\d+)"),
                  one.find(r"remote transport_parameters grease_quic_bit=(\d+)")]
        limits = [int(m[1]) if m else None for m in limits]
        ok(limits[0] == 0 and limits[1] >= 16 and limits[2] >= (1 << 20) + 65536 and limits[3] == 0,
           "as ngtcp2 reads them, the transport parameters are those of the protocol", limits)
    bare = client(server)
    code = bare.wait(CLOSED)
    ok(code and code[1] == NO_CERTIFICATE and not bare.find(CONFIRMED),
       "without a certificate: NO_CERTIFICATE", bare.end())
    ok(not server.told("connected") and server.stop() == 0, "nobody of them said Hello", server.lines)


def session(folder):
    server = Server(folder)
    file = ["--session-file", folder + "/session"]
    mine = identity(folder)[0]
    said = r"frm rx \d+ Handshake CRYPTO\(0x06\) offset=0 len=(\d+)"
    first = client(server, *file, *mine)
    # It writes the file while it reads the packet.
    saved = r"frm rx \d+ 1RTT CRYPTO.*(\n.*)*? pkt read packet"
    ok(first.wait(CONFIRMED) and first.wait(saved), "a session ticket is given", first.end())
    again = client(server, *file, *mine)
    ok(again.wait(CONFIRMED) and again.wait(saved), "with it, a second handshake is confirmed", again.end())
    text = again.end()
    # Certificate and CertificateVerify are left out: the flight is far shorter.
    ok(int(again.find(said)[1]) * 2 < int(first.find(said)[1]), "and is resumed", text)
    bare = client(server, *file)
    ok(bare.wait(CONFIRMED), "the session is proof enough: it was made with a certificate", bare.end())
    ok(server.stop() == 0, "the server ends with 0")


def under_load(folder):
    from over_aioquic import Identity, Loop, Port  # pylint: disable=import-outside-toplevel
    from tbq1 import Node  # pylint: disable=import-outside-toplevel
    server = Server(folder)
    mine = identity(folder)[0]
    loop, me = Loop(), Identity()
    port = Port(loop)
    for _ in range(FLOOD):
        Node(me).dial(port, ("127.0.0.1", int(server.port)))
    port.flush()  # each begins a handshake, and none goes on with it
    one = client(server, *mine)
    ok(one.wait(CONFIRMED) and one.find(r"type=Retry"),
       f"with {FLOOD} handshakes under way a client gets a Retry, and comes through", one.end())
    code, out, err = tbq("client", server.uri)
    ok(code == 0, "so does tbq client", out + err)
    ok(server.stop() == 0, "the server ends with 0", server.err)


def listening(program):
    """The UDP port of a process, once it has one."""
    while program.process.poll() is None:
        inodes = set()
        for fd in os.scandir(f"/proc/{program.process.pid}/fd"):
            try:
                inodes.add(os.readlink(fd.path)[len("socket:["):-1])
            except OSError:
                pass
        with open("/proc/net/udp", encoding="ascii") as table:
            for line in table.readlines()[1:]:
                words = line.split()
                if words[9] in inodes:
                    return int(words[1].rsplit(":", 1)[1], 16)
    return None


def their_server(folder, *options, shim):
    _, files, peer = identity(folder)
    server = Program(SERVER, "--no-quic-dump", "--verify-client", *options, "127.0.0.1", "0", *files,
                     shim=shim)
    return server, f"tbq://{peer}@127.0.0.1:{listening(server)}"


def server_as_it_is(folder):
    server, uri = their_server(folder, shim=False)
    code, out, err = tbq("client", uri, "--json")
    ok(code == 1 and "alert 120" in out, "ngtcp2's server wants h3: tbq client says so, exit 1",
       out + err)
    server.end()


def server_with_our_name(folder):
    server, uri = their_server(folder, "--validate-addr", shim=True)
    one = Process("client", uri)
    ok(server.wait("QUIC handshake has completed"), "with tbq/1, the handshake completes", server.lines)
    ok(server.find("Sending Retry packet") and server.find("Token was successfully validated"),
       "after a Retry, which tbq client answered", server.lines)
    one.process.terminate()
    ok(one.end() == 0 and not one.told("connected"), "nothing is up without a Hello", one.lines)
    ok(server.wait(r"frm rx .* CONNECTION_CLOSE\(0x1d\)"), "tbq client said goodbye", server.end())


def main():
    why = None
    if not CLIENT or not SERVER:
        why = "ngtcp2's example programs are missing (tools/setup ci brings them)"
    else:
        build = subprocess.run([*os.environ["CC"].split(), "-shared", "-fPIC", "-o", SHIM,
                                aioquic_here.SRC + "/tests/interop/ngtcp2_alpn.c", "-ldl"],
                               capture_output=True, text=True, check=False)
        if build.returncode != 0:
            why = "the compiler makes no library to load before them: " + build.stderr.split("\n")[0]
    if why:
        for story in STORIES:
            skip(story, why)
        print(f"1..{len(STORIES)}")
        return
    run_all(as_it_is, with_our_name, session, under_load, server_as_it_is, server_with_our_name)


aioquic_here.or_skip(*STORIES)
main()
