#!/usr/bin/env python3
"""The demo ends by itself with 0, in time, and README shows what it prints. TAP."""

import os
import re
import subprocess

from cli_help import TBQ, WAIT, ok, run_all

SRC = os.environ["srcdir"]


def shape(text):
    """Without what differs from run to run: keys, hashes, numbers."""
    text = re.sub(r"\b(?:[a-z2-7]{52}|[0-9a-f]{64})\b", "KEY", text.strip())
    return re.sub(r"\d+(\.\d+)?", "N", text).splitlines()


def demo(_):
    done = subprocess.run(["sh", SRC + "/cli/demo.sh"], capture_output=True, text=True, check=False,
                          timeout=3 * WAIT, env={**os.environ, "TBQ": TBQ})
    ok(done.returncode == 0, "the demo ends by itself, with 0", done.stdout + done.stderr)
    with open(SRC + "/README.md", encoding="utf-8") as f:
        shown = re.search(r"make demo\n.*?```\n(.*?)```", f.read(), re.S)
    ok(shown and shape(shown.group(1)) == shape(done.stdout), "README shows its output", done.stdout)
    ok(re.search(r"^\(\d+ ms\)$", done.stdout, re.M), "with times")


run_all(demo)
