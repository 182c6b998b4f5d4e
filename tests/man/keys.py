#!/usr/bin/env python3
"""tbq(1) lists exactly the events and keys that tbq's code can print, and its options. TAP."""

import os
import re
import sys

SRC = os.environ["srcdir"]
failed = 0


def read(name):
    with open(os.path.join(SRC, name), encoding="utf-8") as f:
        return f.read()


def ok(number, good, what, why):
    global failed
    failed += not good
    print(f"{'ok' if good else 'not ok'} {number} - {what}")
    if not good:
        print(f"# {why}")


def printed():
    """say("event", (struct field[]){{"key", ...}...: event and keys, over all files."""
    found = {}
    for name in os.listdir(os.path.join(SRC, "cli")):
        if not name.endswith(".c"):
            continue
        text = re.sub(r"\s+", " ", read("cli/" + name))
        for m in re.finditer(r'\bsay\( ?"?(\w+)"?[^,]*, \(struct field\[\]\)\{(.*?)\}, ?"', text):
            keys = set(re.findall(r'\{"(\w+)",', m.group(2)))
            for event in {"names": [], "event": ["key", "id"],
                          "fate": ["delivered", "undelivered", "unknown"]}.get(m.group(1),
                                                                              [m.group(1)]):
                found.setdefault(event, set()).update(keys)
    found["delivered"].discard("reason")  # printed of the other two only
    return found


def listed():
    text = read("man/tbq.1")
    text = text[text.index(".Sh OUTPUT"):text.index(".Sh ENVIRONMENT")]
    found = {}
    for m in re.finditer(r"^\.It (\w+)\n(.*?)(?=^\.It|^\.El)", text, re.S | re.M):
        words = re.sub(r"\([^)]*\)", "", m.group(2))
        found[m.group(1)] = {w for w in re.findall(r"\b[a-z0-9_]+\b", words)
                             if w in ALL}
    return found


CODE = printed()
ALL = set().union(*CODE.values())
MAN = listed()
ok(1, set(CODE) == set(MAN), "every event is in tbq(1), and no other", sorted(set(CODE) ^ set(MAN)))
wrong = [(e, sorted(CODE[e] ^ MAN[e])) for e in CODE if e in MAN and CODE[e] != MAN[e]]
ok(2, not wrong and len(ALL) > 10, "and its keys", wrong)
options = set(re.findall(r'^    \{"([a-z-]+)", [A-Z]+,', read("cli/options.c"), re.M)) | {"json"}
man = set(re.findall(r"Fl -([a-z-]+)", read("man/tbq.1")))
ok(3, options - {"help"} == man - {"help", "version"}, "and every option",
   sorted(options ^ man))
print("1..3")
sys.exit(1 if failed else 0)
