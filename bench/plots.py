#!/usr/bin/env python3
"""Draws what bench/run.py measured, by gnuplot. `make bench-plots JSON=FILE` runs it.

    bench/plots.py FILE [FOLDER]

FILE is what --json wrote; pictures go into FOLDER (docs/plots), one SVG for each group of modes: a
bar for each program, its median above, and a line from the least to the most of all rounds.

Exit status: 0; 1 when gnuplot failed; 2 when there is nothing to draw, or no gnuplot.
"""

import json
import os
import shutil
import subprocess
import sys

SRC = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# File, the modes in it, and what the title says.
GROUPS = [
    ("bulk", ["bulk-64k", "bulk-1m"], {"bulk-64k": "64 KiB", "bulk-1m": "1 MiB"}),
    ("oneway", ["rate-100", "rate-1k"], {"rate-100": "100 bytes", "rate-1k": "1 KiB"}),
    ("trips", ["trips-1", "trips-64"], {"trips-1": "one at a time", "trips-64": "64 on their way"}),
    ("handshakes", ["handshake-full", "handshake-resumed", "handshake-early"],
     {"handshake-full": "full", "handshake-resumed": "resumed", "handshake-early": "early data"}),
    ("idle", ["idle-1000", "idle-10000"], {"idle-1000": "1,000", "idle-10000": "10,000"}),
    ("growth", [f"grow-{n}" for n in (1, 10, 100, 1000, 10000)],
     {f"grow-{n}": f"{n:,}" for n in (1, 10, 100, 1000, 10000)}),
    *[(f"loss-{rtt}ms", [f"loss-{p}-{rtt}ms" for p in ("0.1", "1", "5")],
       {f"loss-{p}-{rtt}ms": f"{p} % lost" for p in ("0.1", "1", "5")}) for rtt in (20, 100)],
    ("start", ["start-server", "start-client"],
     {"start-server": "server, until it is ready", "start-client": "client, until it has delivered"}),
]
TITLES = {
    "bulk": "One way, Gbit/s", "oneway": "One way, 1,000 messages a second",
    "trips": "Round trips of 100 bytes, 1,000 a second",
    "handshakes": "Handshakes to the first answer, 1 a second",
    "idle": "Memory of the server, KiB for each idle connection (less is better)",
    "growth": "One way, 100 bytes, 1,000 messages a second in all, by connections",
    "loss-20ms": "One way at a round trip of 20 ms, Mbit/s", "loss-100ms": "The same at 100 ms, Mbit/s",
    "start": "From the start of the process, ms (less is better)",
}
# Told apart by those who see colours otherwise too, and in grey.
COLOURS = {"libtbquic": "#0072b2", "one-fd": "#56b4e9", "floor": "#999999", "zmq": "#d55e00",
           "tls": "#009e73", "ngtcp2": "#cc79a7"}
PANEL, HEIGHT = 300, 260  # pixels


def label(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def panel(name, title, mode):
    """The commands for one mode: a block of data, and the bars from it."""
    rows, tics = [], []
    for program, p in mode["programs"].items():
        if not p["figures"]:
            continue
        f = p["figures"][mode["unit"]]
        tics.append(f'"{program}" {len(rows)}')
        rows.append(f'{len(rows)} {f["median"]} {f["least"]} {f["most"]} '
                    f'{int(COLOURS.get(program, "#000000")[1:], 16)} "{label(f["median"])}"')
    if not rows:
        return []
    top = max(float(r.split()[3]) for r in rows)
    return [f"${name} << EOD", *rows, "EOD", f'set title "{title}"',
            f"set xrange [-0.6:{len(rows) - 0.4}]", f"set yrange [0:{top * 1.18}]",
            f"set xtics ({', '.join(tics)})",
            f"plot ${name} using 1:2:5 with boxes lc rgb variable fs solid 1 noborder, "
            "'' using 1:3:(0):($4-$3) with vectors heads size graph 0.015,90 lc rgb '#222222' lw 1.2, "
            "'' using 1:4:6 with labels offset 0,0.7 font ',10' tc rgb '#222222'"]


def source(report):
    """Of which machine, when, and of what the pictures are."""
    versions = report["versions"]
    return ", ".join([str(report["cpu"]), report["date"][:10], f"libtbquic {versions['libtbquic']}",
                      f"ngtcp2 {versions['libngtcp2']}", f"GnuTLS {versions['gnutls']}"])


def draw(path, group, modes, names, below):
    panels = [panel(f"d{i}", names[m["name"]], m) for i, m in enumerate(modes)]
    panels = [p for p in panels if p]
    if not panels:
        return False
    commands = [f"set terminal svg size {PANEL * len(panels)},{HEIGHT} background '#ffffff' "
                "font 'sans-serif,11'", f'set output "{path}"',
                "set key off", "set boxwidth 0.66", "set border 3 lc rgb '#222222'",
                "set tics nomirror out scale 0.5 tc rgb '#222222'", "set xtics font ',10'",
                "set ytics font ',10'",
                "set grid y lc rgb '#dddddd' lw 0.5", 'set format y "%.6g"',
                f'set multiplot layout 1,{len(panels)} title "{TITLES[group]}\\n{below}" '
                'noenhanced font ",11"']
    for p in panels:
        commands += p
    commands += ["unset multiplot", ""]
    subprocess.run(["gnuplot", "-"], input="\n".join(commands), text=True, check=True)
    return True


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[1].startswith("-") or not os.path.isfile(sys.argv[1]):
        print(__doc__, file=sys.stderr)
        return 2
    if not shutil.which("gnuplot"):
        print("gnuplot is missing (tools/setup bench brings it)", file=sys.stderr)
        return 2
    with open(sys.argv[1], encoding="utf-8") as f:
        report = json.load(f)
    folder = sys.argv[2] if len(sys.argv) == 3 else os.path.join(SRC, "docs/plots")
    os.makedirs(folder, exist_ok=True)
    drawn = 0
    for group, wanted, names in GROUPS:
        path = os.path.join(folder, group + ".svg")
        modes = [m for w in wanted for m in report["modes"] if m["name"] == w]
        try:
            if draw(path, group, modes, names, source(report)):
                drawn += 1
                print(path)
        except subprocess.CalledProcessError as e:
            print(f"gnuplot could not draw {path}: {e}", file=sys.stderr)
            return 1
    return 0 if drawn else 2


if __name__ == "__main__":
    sys.exit(main())
