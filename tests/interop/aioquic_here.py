"""Finds aioquic: among Python's own modules, or where tools/setup unpacks it. See the function."""

import os
import subprocess
import sys

SRC = os.environ["srcdir"]
# What tools/setup unpacks for these tests where the machine's Debian has no package of it.
UNPACKED = os.environ.get("TBQUIC_INTEROP", "/var/cache/tbquic/interop")
MODULES = UNPACKED + "/usr/lib/python3/dist-packages"
SYSTEM_PYTHON = "/usr/bin/python3"  # Debian's modules in C are built for this one
TRIED = "TBQ_TEST_AIOQUIC_TRIED"
PROBE = "import aioquic.quic.connection, cryptography.x509"

sys.path[:0] = [SRC + "/tests/net", SRC + "/tests/vectors"]


def unpacked_program(name):
    """The path of a program of Debian's, installed or unpacked; None where it is neither."""
    for folder in ("/usr/bin", "/usr/sbin", UNPACKED + "/usr/bin", UNPACKED + "/usr/sbin"):
        if os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    return None


def or_skip(*stories):
    """Returns when aioquic can be imported, if need be in a Python begun anew; else skips the stories."""
    if TRIED in os.environ:
        return
    os.environ[TRIED] = "yes"
    path = os.environ.get("PYTHONPATH")
    for python in (sys.executable, SYSTEM_PYTHON):
        for folder in ([], [MODULES]):
            env = {**os.environ, "PYTHONPATH": os.pathsep.join(folder + ([path] if path else []))}
            found = os.access(python, os.X_OK) and subprocess.run(
                [python, "-B", "-c", PROBE], env=env, capture_output=True, check=False).returncode == 0
            if found:
                os.execve(python, [python, "-B", *sys.argv], env)
    from cli_help import skip  # pylint: disable=import-outside-toplevel
    for story in stories:
        skip(story, "aioquic is missing (tools/setup ci brings it)")
    print(f"1..{len(stories)}")
    sys.exit(0)
