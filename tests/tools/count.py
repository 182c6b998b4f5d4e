#!/usr/bin/env python3
"""bench/count.py with a valgrind that only pretends: what fails, what is updated, what cannot be
compared. TAP; nothing is counted here."""

import json
import os
import shutil
import subprocess
import sys

from tap import end, ok


# Each piece takes as many instructions as the file `each` says, and each run 1,000,000 besides.
VALGRIND = r'''#!/usr/bin/env python3
import sys
words = sys.argv[1:]
if words == ["--version"]:
    print("valgrind-9")
elif words[-1] == "about":
    print('{"processor":"a pretended one"}')
else:
    with open("each") as f:
        each = float(f.read())
    sys.stderr.write(f"==1== Collected : {1000000 + int(int(words[-2]) * each)}\n")
'''


def run(each, *words, valgrind=True, flags="-O2"):
    """Exit status and what it printed, where each piece takes so many instructions."""
    with open("each", "w", encoding="ascii") as f:
        f.write(str(each))
    path = os.path.join(os.getcwd(), "programs") if valgrind else os.getcwd()
    python = os.path.dirname(sys.executable)
    env = {**os.environ, "PATH": path + ("" if not valgrind else ":" + python), "CFLAGS": flags,
           "builddir": os.getcwd()}
    done = subprocess.run([sys.executable, "-B", "src/bench/count.py", *words], env=env,
                          capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def stored():
    with open("src/bench/instructions.json", encoding="ascii") as f:
        return json.load(f)


def begin():
    os.makedirs("src/bench")
    os.mkdir("programs")
    shutil.copy(os.environ["srcdir"] + "/bench/count.py", "src/bench")
    with open("src/bench/instructions.json", "w", encoding="ascii") as f:
        f.write("{}")
    with open("programs/valgrind", "w", encoding="ascii") as f:
        f.write(VALGRIND)
    os.chmod("programs/valgrind", 0o755)


def main():
    begin()
    status, text = run(1000)
    ok(status == 77 and "SKIP" in text, "figures that are of no machine compare with nothing", text)
    status, text = run(1000, "--update")
    figures = stored()["instructions"]
    ok(status == 0 and figures["engine/message-100"] == 1000,
       "the difference of two runs counts, and is written", text)
    ok(abs(figures["engine/byte-of-64-KiB"] - 1000 / 65536) < 0.001, "of a message or a byte", figures)
    status, text = run(1040)
    ok(status == 0 and "+4.00%" in text, "4 % more are let through", text)
    status, text = run(1060, "roundtrip")
    ok(status == 1 and "engine/roundtrip-64 takes more" in text and "message-100" not in text,
       "6 % more are not, and only what was asked for is measured", text)
    status, text = run(900)
    ok(status == 0 and "engine/message-100 takes less" in text, "what takes less is said", text)
    status, text = run(900, "--update", "engine/idle")
    ok(stored()["instructions"] == {**figures, "engine/idle-30-s": 900},
       "an update of one leaves the others", stored())
    status, text = run(1000, flags="-O0")
    ok(status == 77 and "flags is `-O0` here, `-O2` there" in text, "another build says so", text)
    status, text = run(1000, valgrind=False)
    ok(status == 77 and "no valgrind" in text, "so does a machine without valgrind", text)
    status, text = run(1000, "nothing-like-that")
    ok(status == 2 and "there are only" in text, "an unknown measure is an error", text)
    end()


main()
