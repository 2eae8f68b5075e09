"""``python -m tests.faults``: break everything once, and print what came of it."""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from . import table
from .fault import Fault
from .matrix import ROWS, chosen, why_not
from .row import Seen, run


def main() -> int:
    """Run the rows asked for; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--area", default="", help="only the rows of one area")
    parser.add_argument("--only", default="", help="only these rows: name,name")
    parser.add_argument("--rounds", type=int, default=1, help="how many times over")
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
    began = time.monotonic()
    _say(table.head())
    passed = failed = skipped = 0
    for fault in rows * options.rounds:
        if reason := why_not(fault):
            _say(table.line(fault, Seen(what=f"SKIPPED: {reason}")))
            skipped += 1
        elif _is_kept(fault, with_trace=options.trace):
            passed += 1
        else:
            failed += 1
    _say("", f"{len(ROWS)} rows exist; {time.monotonic() - began:.0f} s")
    _say(*([f"{skipped} skipped"] if skipped else []))
    _say(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def _is_kept(fault: Fault, *, with_trace: bool) -> bool:
    try:
        _say(table.line(fault, run(fault)))
    except Exception as error:  # noqa: BLE001  (the other rows go on)
        what = " ".join(f"{type(error).__name__}: {error}".split())
        _say(table.line(fault, Seen(what=f"FAILED: {what}")))
        if with_trace:
            traceback.print_exc()
        return False
    return True


def _say(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)  # noqa: T201  (the table is this program's output)


if __name__ == "__main__":
    sys.exit(main())
