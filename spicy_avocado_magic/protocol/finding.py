"""What one check of ``%avocado_doctor`` found, and how it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ..system.redaction import strip_control_chars


class CheckStatus(StrEnum):
    """How things are, by one check."""

    OK = "ok"
    WARNING = "warning"
    """It works, but not as well as it could, or for others as well."""
    BROKEN = "broken"
    """The service cannot work, or not for long."""
    UNKNOWN = "unknown"
    """The check could not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found.

    Attributes:
        name: Of the check; empty until the doctor adds it.
        verdict: How things are.
        what: What was found, in one sentence or two.
        remedy: What to do; empty where nothing is wrong.
    """

    name: str
    verdict: CheckStatus
    what: str
    remedy: str = ""


_MARKS: Final = {
    CheckStatus.OK: "✓",
    CheckStatus.WARNING: "!",
    CheckStatus.BROKEN: "✗",
    CheckStatus.UNKNOWN: "?",
}
_COUNTED: Final = {
    CheckStatus.OK: "good",
    CheckStatus.WARNING: "to look at",
    CheckStatus.BROKEN: "broken",
    CheckStatus.UNKNOWN: "unknown",
}


def ok(what: str, *, name: str = "") -> Finding:
    """Return a finding that nothing is wrong."""
    return Finding(name=name, verdict=CheckStatus.OK, what=what)


def warning(what: str, remedy: str, *, name: str = "") -> Finding:
    """Return a finding that the user should look at."""
    return Finding(name=name, verdict=CheckStatus.WARNING, what=what, remedy=remedy)


def broken(what: str, remedy: str, *, name: str = "") -> Finding:
    """Return a finding that must be corrected."""
    return Finding(name=name, verdict=CheckStatus.BROKEN, what=what, remedy=remedy)


def unknown(what: str, remedy: str, *, name: str = "") -> Finding:
    """Return a finding of a check without a result."""
    return Finding(name=name, verdict=CheckStatus.UNKNOWN, what=what, remedy=remedy)


def findings_text(findings: Sequence[Finding]) -> str:
    """Return all findings, a remedy under each that needs one, and a summary."""
    column = max((len(finding.name) for finding in findings), default=0)
    lines = []
    for finding in findings:
        mark = _MARKS[finding.verdict]
        lines.append(f"{mark} {finding.name:<{column}}  {_line(finding.what)}")
        if finding.remedy:
            lines.append(f"  {'':<{column}}  → {_line(finding.remedy)}")
    return "\n".join([*lines, "", summary(findings)])


def summary(findings: Sequence[Finding]) -> str:
    """Return how many findings there are of each verdict, in one line."""
    counts = [
        f"{count} {word}"
        for verdict, word in _COUNTED.items()
        if (count := sum(finding.verdict is verdict for finding in findings))
    ]
    checks = "1 check" if len(findings) == 1 else f"{len(findings)} checks"
    return f"{checks}: {', '.join(counts) or 'nothing was checked'}."


def _line(text: str) -> str:
    return " ".join(strip_control_chars(text).split())
