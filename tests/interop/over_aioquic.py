"""QUIC for the tests: aioquic's connections on UDP sockets, turned by whoever waits for something.

Nothing sleeps: wait() reads, lets timers fire and sends until its condition holds, and has a guard
that only a hang reaches. aioquic is without sockets of its own, so all of it is in one thread.
"""

import datetime
import hashlib
import logging
import os
import select
import socket
import time

from aioquic.buffer import Buffer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import (QuicPacketType, QuicProtocolVersion, encode_quic_retry,
                                 pull_quic_header)
from aioquic import tls
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from check_vectors import id_to_text
from cli_help import WAIT

ALPN = "tbq/1"
V1, V2 = QuicProtocolVersion.VERSION_1, QuicProtocolVersion.VERSION_2
LOOK = 0.02  # s; how often a condition is looked at that no datagram makes true (a line of tbq)
FIRST = datetime.datetime(1970, 1, 1)
LAST = datetime.datetime(9999, 12, 31, 23, 59, 59)
OWN_NAME, WANTED_NAME = "own", "wanted"
CRYPTO_ERROR = 0x100  # RFC 9001: a TLS alert as a QUIC error

logging.getLogger("quic").setLevel(logging.CRITICAL)  # the tests say what is worth knowing


class Identity:
    """A key and a certificate that it made for itself."""

    def __init__(self, key=None, first=FIRST, last=LAST):
        self.key = key or ed25519.Ed25519PrivateKey.generate()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "of no meaning")])
        is_ed = isinstance(self.key, ed25519.Ed25519PrivateKey)
        self.certificate = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name)
            .public_key(self.key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(first).not_valid_after(last)
            .sign(self.key, None if is_ed else hashes.SHA256()))
        if is_ed:
            self.raw = self.key.public_key().public_bytes_raw()
            self.peer_id = hashlib.sha256(self.raw).digest()
            self.text = id_to_text(self.peer_id)

    def write(self, folder):
        """As files: certificate, key."""
        os.makedirs(folder, exist_ok=True)
        paths = folder + "/certificate", folder + "/key"
        texts = (self.certificate.public_bytes(serialization.Encoding.PEM),
                 self.key.private_bytes(serialization.Encoding.PEM,
                                        serialization.PrivateFormat.PKCS8,
                                        serialization.NoEncryption()))
        for path, text in zip(paths, texts):
            with open(path, "wb") as f:
                f.write(text)
        return paths


def rsa_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def ecdsa_key():
    return ec.generate_private_key(ec.SECP256R1())


def key_of(certificate):
    """The raw Ed25519 key that a peer has proved, or None."""
    key = certificate.public_key() if certificate else None
    return key.public_bytes_raw() if isinstance(key, ed25519.Ed25519PublicKey) else None


def settings(is_client, identity=None, **more):
    """docs/protocol.md, section 2, as aioquic's configuration."""
    given = {"alpn_protocols": [ALPN], "supported_versions": [V1], "verify_mode": 0,
             "max_data": 1 << 24, "max_stream_data": 1 << 21, "idle_timeout": 30.0}
    given.update(more)
    out = QuicConfiguration(is_client=is_client, **given)
    if identity:
        out.certificate, out.private_key = identity.certificate, identity.key
    return out


class Quic(QuicConnection):
    """A connection as the protocol wants it: no bidirectional streams, a client has a certificate.

    `force_signature`: a peer that signs with what it has, whatever the other side asked for, under
    the name of an algorithm: its own, or the one that is wanted."""

    streams_uni = 64
    force_signature = None  # OWN_NAME or WANTED_NAME
    session_key = None

    def _initialize(self, peer_cid):
        self._local_max_streams_bidi.value = 0
        self._local_max_streams_uni.value = self.streams_uni
        super()._initialize(peer_cid)
        if not self._is_client:
            self.tls._request_client_certificate = True
            if not self.force_signature:
                self.tls._signature_algorithms = [tls.SignatureAlgorithm.ED25519]
        if self.force_signature and self.tls.certificate_private_key:
            own = self.tls._signature_algorithms_for_private_key()[0]
            self.tls.certificate_private_key = Signer(self.tls.certificate_private_key, own)
            name = own if self.force_signature == OWN_NAME else tls.SignatureAlgorithm.ED25519
            self.tls._signature_algorithms_for_private_key = lambda: Whatever([name])

    @property
    def closed(self):
        """(code, whether the application's, reason) of the end, as soon as it is known."""
        e = self._close_event
        return e and (e.error_code, e.frame_type is None, e.reason_phrase)

    @property
    def peer_key(self):
        """Of its certificate; in a resumed handshake that of the session, which a test remembers."""
        return self.session_key if self.tls.session_resumed else key_of(self.tls._peer_certificate)

    @property
    def handshake_over(self):
        return self._handshake_complete

    @property
    def next_uni(self):
        return self.get_next_available_stream_id(is_unidirectional=True)


class Signer:
    """A private key that signs in its own way, whatever it is asked for."""

    def __init__(self, key, algorithm):
        self.key, self.parameters = key, tls.signature_algorithm_params(algorithm)

    def sign(self, data, *_):
        return self.key.sign(data, *self.parameters)


class Whatever(list):
    """A list of one signature algorithm that agrees with every offer: see _negotiate."""


def _negotiate(supported, offered, exc=None):
    return supported[0] if isinstance(supported, Whatever) else _asked(supported, offered, exc)


_asked, tls.negotiate = tls.negotiate, _negotiate


class Port:
    """A UDP socket and the connections on it. `accept(quic)` makes what a server's connections are;
    `tickets`, a dictionary, lets it give tickets and resume."""

    def __init__(self, loop, accept=None, identity=None, retry=False, make=Quic, tickets=None, **more):
        self.loop, self.accept, self.identity, self.retry = loop, accept, identity, retry
        self.tickets = tickets
        self.make, self.more = make, more
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.number = self.socket.getsockname()[1]
        self.sessions = []
        self.other = []  # datagrams that belong to no connection
        self.retried = {}  # connection id that Retry chose: the original one
        loop.ports.append(self)

    def dial(self, address, session, quic):
        session.port, session.quic = self, quic
        self.sessions.append(session)
        quic.connect(address, time.monotonic())
        return session

    def read(self):
        while True:
            try:
                data, sender = self.socket.recvfrom(65536)
            except (BlockingIOError, ConnectionRefusedError):
                return
            session = self._owner(data, sender)
            if session:
                session.quic.receive_datagram(data, sender, time.monotonic())
                session.turn()
            else:
                self.other.append(data)

    def _owner(self, data, sender):
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=8)
        except ValueError:
            return None
        for session in self.sessions:
            own = [c.cid for c in session.quic._host_cids]
            if header.destination_cid in (session.first_id, *own):
                return session
        if not self.accept or header.packet_type != QuicPacketType.INITIAL:
            return None
        return self._begin(header, sender)

    def _begin(self, header, sender):
        original, retry_id = header.destination_cid, None
        if self.retry and header.destination_cid not in self.retried:
            mine = os.urandom(8)
            self.retried[mine] = header.destination_cid
            self.socket.sendto(encode_quic_retry(header.version, mine, header.source_cid,
                                                 header.destination_cid, b"token " + mine), sender)
            return None
        if self.retry:
            if header.token != b"token " + header.destination_cid:
                return None
            retry_id, original = original, self.retried[original]
        quic = self.make(configuration=settings(False, self.identity, **self.more),
                         original_destination_connection_id=original,
                         retry_source_connection_id=retry_id)
        if self.tickets is not None:
            self._resume(quic)
        session = self.accept(quic)
        session.port, session.first_id = self, header.destination_cid
        self.sessions.append(session)
        return session

    def _resume(self, quic):
        """A ticket stands for the key that the peer proved when it got it."""
        def give(ticket):
            self.tickets[ticket.ticket] = ticket, quic.peer_key

        def fetch(name):
            ticket, quic.session_key = self.tickets.get(name, (None, None))
            # aioquic would wait for a certificate that it does not ask for in a resumed handshake.
            quic.tls._request_client_certificate = ticket is None
            return ticket
        quic._session_ticket_handler, quic._session_ticket_fetcher = give, fetch

    def flush(self):
        for session in self.sessions:
            session.speak()
            for data, to in session.quic.datagrams_to_send(time.monotonic()):
                self.socket.sendto(data, to)

    def timers(self):
        return [t for t in (s.quic.get_timer() for s in self.sessions) if t is not None]

    def fire(self):
        now = time.monotonic()
        for session in self.sessions:
            timer = session.quic.get_timer()
            if timer is not None and timer <= now:
                session.quic.handle_timer(now)
                session.turn()

    def drop(self, session):
        """Forgets a connection without a word, as a process that is killed does."""
        self.sessions.remove(session)

    def close(self):
        self.loop.ports.remove(self)
        self.socket.close()


class Loop:
    def __init__(self):
        self.ports = []

    def wait(self, condition, guard=WAIT):
        """What condition() says once it is true; False when it never is."""
        deadline = time.monotonic() + guard
        while True:
            for port in self.ports:
                port.flush()
            got = condition()
            now = time.monotonic()
            if got or now >= deadline:
                return got or False
            timers = [t for port in self.ports for t in port.timers()]
            patience = max(0, min([now + LOOK, deadline, *timers]) - now)
            sockets = {port.socket: port for port in self.ports}
            for ready in select.select(list(sockets), [], [], patience)[0]:
                sockets[ready].read()
            for port in list(self.ports):
                port.fire()


class Plain:
    """A connection of aioquic with nothing above it: what arrives is kept."""

    port = None
    first_id = None  # the connection id that a client chose for its server

    def __init__(self, quic=None):
        self.quic = quic
        self.events = []

    def turn(self):
        while (event := self.quic.next_event()) is not None:
            self.events.append(event)

    def speak(self):
        pass

    def saw(self, kind):
        return [e for e in self.events if isinstance(e, kind)]

