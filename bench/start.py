"""Modes of bench/run.py: how soon `tbq` is of use, from its start as a process."""

import os
import tempfile
import time

from parts import BUILD, PATIENCE, BenchError, Mode, Process

# What libtool has built, without the script around it that finds the library.
TBQ = next((p for p in (os.path.join(BUILD, "cli", n) for n in (".libs/tbq", "tbq"))
            if os.access(p, os.X_OK)), None)


def environment():
    """Without what would name a folder with keys."""
    env = {k: v for k, v in os.environ.items()
           if k not in ("HOME", "STATE_DIRECTORY", "XDG_STATE_HOME")}
    return {**env, "LD_LIBRARY_PATH": os.path.join(BUILD, "lib/.libs")}


class Start(Mode):
    rounds, unit, more_is_better = 20, "ms", False
    only, beside = ("libtbquic",), ()

    def lacks(self):
        return None if TBQ else f"there is no tbq in {BUILD}/cli"

    def once(self, program, seconds, number):
        with tempfile.TemporaryDirectory(prefix="tbquic-bench-") as folder:
            with self.server(folder) as server:  # makes the key
                uri = server.need("ready", PATIENCE)["uri"]
                took = self.measure(folder, uri, server)
        return self.figures(took)

    @staticmethod
    def tbq(*arguments):
        return Process(None, TBQ, *arguments, "--json", env=environment())

    def server(self, folder):
        return self.tbq("server", "--bind", "127.0.0.1:0", "--state", os.path.join(folder, "state"))

    def measure(self, folder, uri, server):
        """Seconds."""
        raise NotImplementedError

    def figures(self, result):
        return {"ms": result * 1000}


class StartServer(Start):
    def __init__(self):
        super().__init__("start-server", "tbq server, whose key is there, until it says `ready`", {})

    def measure(self, folder, uri, server):
        server.process.terminate()
        if server.process.wait(PATIENCE) != 0:
            raise BenchError("the server did not end as it should")
        began = time.monotonic()
        with self.server(folder) as again:
            again.need("ready", PATIENCE)
            return time.monotonic() - began


class StartClient(Start):
    def __init__(self):
        super().__init__("start-client",
                         "tbq client, which nobody knows, until its message is delivered", {})

    def measure(self, folder, uri, server):
        path = os.path.join(folder, "message")
        with open(path, "w", encoding="ascii") as f:
            f.write("a first message\n")
        began = time.monotonic()
        with self.tbq("client", uri, "--send", path) as client:
            client.need("connected", PATIENCE, server)
            client.need("delivered", PATIENCE, server)
            return time.monotonic() - began


START_MODES = [StartServer(), StartClient()]
# The arguments of Target.
START_TARGETS = [("start-server", "ms", "<=", 20, None), ("start-client", "ms", "<=", 30, None)]
