"""The table that the matrix prints, a line as soon as its row is over."""

from __future__ import annotations

from .fault import Fault
from .row import Seen

_FORMAT = "{:<28} {:<44} {:<56} {:>7} {:>8} {:>6} {:>9}"
_HEADS = ("fault", "expected", "seen", "detect", "recover", "bare", "lost")


def head() -> str:
    """Return the first lines; times are seconds, ``lost`` is requests of how many."""
    return (
        f"{_FORMAT.format(*_HEADS)}\n{_FORMAT.format(*('-' * len(h) for h in _HEADS))}"
    )


def line(fault: Fault, seen: Seen) -> str:
    """Return a row's line, with the reason where a promise cannot be kept."""
    shown = _FORMAT.format(
        f"{fault.area}: {fault.name}",
        fault.expected,
        seen.summary,
        _seconds(seen.detect_s),
        _seconds(seen.recover_s),
        _seconds(seen.bare_s),
        f"{seen.lost}/{seen.asked}" if seen.asked else "",
    )
    return f"{shown}\n{'':<29}· {fault.note}" if fault.note else shown.rstrip()


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
