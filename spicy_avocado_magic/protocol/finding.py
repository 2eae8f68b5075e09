"""Findings of ``%avocado_doctor``, and the text of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ..system.redaction import strip_control_chars


class CheckStatus(StrEnum):
    """Result of one check."""

    OK = "ok"
    WARNING = "warning"
    """The service works, with a limitation or a risk."""
    BROKEN = "broken"
    """The service cannot work, or not for long."""
    UNKNOWN = "unknown"
    """The check has no result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The finding of one check.

    Attributes:
        name: Name of the check; empty until the doctor adds it.
        verdict: Status of the checked subject.
        what: Description of the finding, in one or two sentences.
        remedy: The action that corrects it; empty if nothing is wrong.
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


def ok(message: str, *, name: str = "") -> Finding:
    """Return a finding that nothing is wrong."""
    return Finding(name=name, verdict=CheckStatus.OK, what=message)


def warning(message: str, remedy: str, *, name: str = "") -> Finding:
    """Return a finding that the user should look at."""
    return Finding(name=name, verdict=CheckStatus.WARNING, what=message, remedy=remedy)


def broken(message: str, remedy: str, *, name: str = "") -> Finding:
    """Return a finding that must be corrected."""
    return Finding(name=name, verdict=CheckStatus.BROKEN, what=message, remedy=remedy)


def unknown(message: str, remedy: str, *, name: str = "") -> Finding:
    """Return a finding of a check without a result."""
    return Finding(name=name, verdict=CheckStatus.UNKNOWN, what=message, remedy=remedy)


def findings_text(findings: Sequence[Finding]) -> str:
    """Return all findings with their remedies, and a summary."""
    column = max((len(finding.name) for finding in findings), default=0)
    lines = []
    for finding in findings:
        mark = _MARKS[finding.verdict]
        lines.append(f"{mark} {finding.name:<{column}}  {_line(finding.what)}")
        if finding.remedy:
            lines.append(f"  {'':<{column}}  → {_line(finding.remedy)}")
    return "\n".join([*lines, "", summary(findings)])


def summary(findings: Sequence[Finding]) -> str:
    """Return the number of findings of each status, in one line."""
    counts = [
        f"{count} {word}"
        for verdict, word in _COUNTED.items()
        if (count := sum(finding.verdict is verdict for finding in findings))
    ]
    checks = "1 check" if len(findings) == 1 else f"{len(findings)} checks"
    return f"{checks}: {', '.join(counts) or 'nothing was checked'}."


def _line(text: str) -> str:
    return " ".join(strip_control_chars(text).split())
