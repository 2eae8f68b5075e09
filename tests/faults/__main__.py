"""``python -m tests.faults``: break everything once, and print what came of it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence

from tests.interrupts import restore_interrupts
from tests.machine_speed import slowdown

from . import table
from .crew import JOBS, RowResult, side_by_side
from .fault import Fault
from .matrix import ROWS, chosen, why_not
from .row import Seen
from .stolen import Stolen


def main() -> int:
    """Run the rows asked for; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--area", default="", help="only the rows of one area")
    parser.add_argument("--only", default="", help="only these rows: name,name")
    parser.add_argument("--rounds", type=int, default=1, help="how many times over")
    parser.add_argument("--jobs", type=int, default=JOBS, help="how many side by side")
    parser.add_argument("--list", action="store_true", help="name the rows, and end")
    parser.add_argument("--trace", action="store_true", help="show where a row failed")
    options = parser.parse_args()
    try:
        rows = chosen(options.area, options.only)
    except ValueError as error:
        parser.error(str(error))
    if options.list:
        _say(*(f"{fault.area:<8} {fault.name:<28} {fault.expected}" for fault in rows))
        return 0
    restore_interrupts()
    _say(f"bounds of seconds are multiplied by {slowdown():g}", "")
    began, stolen = time.monotonic(), Stolen()
    _say(table.head())
    skipped = {fault.name: reason for fault in rows if (reason := why_not(fault))}
    for fault in rows:
        if fault.name in skipped:
            _say(table.line(fault, Seen(summary=f"SKIPPED: {skipped[fault.name]}")))
    rows = [fault for fault in rows if fault.name not in skipped] * options.rounds
    passed = failed = 0
    for fault, result in _in_order(rows, options.jobs):
        _say(table.line(fault, result.seen))
        if options.trace and result.trace:
            _say(result.trace)
        passed, failed = passed + result.is_kept, failed + (not result.is_kept)
    took = f"{time.monotonic() - began:.0f} s"
    stolen_by_others = f"{stolen.percent():.0f} % of the CPU asked for was not given"
    _say("", f"{len(ROWS)} rows exist; {took}, {stolen_by_others}")
    _say(*([f"{len(skipped)} skipped"] if skipped else []))
    _say(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def _in_order(rows: Sequence[Fault], jobs: int) -> Iterator[tuple[Fault, RowResult]]:
    """Yield the result of each row, in the order of the rows."""
    known: dict[int, RowResult] = {}
    place = 0
    for at, result in side_by_side(rows, jobs):
        known[at] = result
        while place in known:
            yield rows[place], known.pop(place)
            place += 1


def _say(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)  # noqa: T201  (the table is this program's output)


if __name__ == "__main__":
    sys.exit(main())
