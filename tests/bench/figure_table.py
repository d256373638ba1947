#!/usr/bin/env python3
"""One table for the figures of all benchmarks: what was measured, what it is compared with, and the goal."""

import json
import os
import sys

WIDTHS = (34, 18, 40, 8, 14, 4)
HEADER = ("figure", "measured", "peer", "ratio", "goal", "met")


class Goal:
    """A bound that the deciding number (the ratio where there is one, else the figure itself) has to keep."""

    def __init__(self, relation, bound, unit=""):
        self.relation = relation
        self.bound = bound
        self.unit = unit

    def __str__(self):
        return f"{self.relation} {self.bound:g}{self.unit}"

    def met(self, value):
        return value >= self.bound if self.relation == ">=" else value <= self.bound


def print_line(cells):
    print("  ".join(str(cell).ljust(width) for cell, width in zip(cells, WIDTHS)).rstrip(), flush=True)


def print_header():
    """Once a table: a script that calls several benchmarks prints it itself and sets BALLAST_BENCH_HEADER=0 for them."""
    if os.environ.get("BALLAST_BENCH_HEADER") == "0":
        return
    print_line(HEADER)
    print_line(["-" * width for width in WIDTHS])


def print_figure(name, measured, goal=None, *, decides, peer="", ratio=None):
    """`decides` is the number that the goal bounds."""
    print_line(
        (
            name,
            measured,
            peer,
            "" if ratio is None else f"{ratio:.2f}",
            goal or "",
            "" if goal is None else ("yes" if goal.met(decides) else "no"),
        )
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["--header"]:
        print_header()
        sys.exit()
    # From a program's JSON lines: {"figure": …, "measured": …, "peer": …, "ratio": …, "decides": …, "goal": [">=", 0.9, ""]}
    for line in sys.stdin:
        entry = json.loads(line)
        goal = Goal(*entry["goal"]) if entry.get("goal") else None
        print_figure(
            entry["figure"], entry["measured"], goal, decides=entry.get("decides"), peer=entry.get("peer", ""), ratio=entry.get("ratio")
        )
