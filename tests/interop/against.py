"""A `tbq server` and the socket of those of aioquic that dial it."""

from cli_help import Server, ok, tbq
from over_aioquic import Loop, Port
from tbq1 import Node


class Against:
    def __init__(self, folder, *options):
        self.server = Server(folder, "127.0.0.1:0", *options, store=True)
        self.loop = Loop()
        self.port = Port(self.loop)
        self.address = ("127.0.0.1", int(self.server.port))

    def wait(self, condition):
        return self.loop.wait(condition)

    def dial(self, node=None, **more):
        return (node or Node()).dial(self.port, self.address, **more)

    def over(self):
        """After all that was done to it, the server serves others, and ends as it should."""
        session = self.dial()
        self.wait(lambda: session.up or session.closed)
        ok(session.up and not session.closed, "an honest aioquic is served afterwards", session.closed)
        code, out, err = tbq("client", self.server.uri, "--json")
        ok(code == 0 and '"pong"' in out, "and an honest tbq client", out + err)
        ok(self.server.stop() == 0, "the server ends with 0", self.server.err)
