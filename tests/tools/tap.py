"""What the tests of the tools print: TAP, a line for each."""

import sys

count = {"tests": 0, "failed": 0}


def ok(good, what, why=""):
    count["tests"] += 1
    count["failed"] += not good
    print(f"{'ok' if good else 'not ok'} {count['tests']} - {what}")
    if not good:
        print("# " + str(why)[-3000:].replace("\n", "\n# "), flush=True)


def end():
    print(f"1..{count['tests']}")
    sys.exit(1 if count["failed"] else 0)
