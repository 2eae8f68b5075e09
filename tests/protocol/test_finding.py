"""The text of the doctor's findings."""

from __future__ import annotations

from spicy_avocado_magic.protocol.finding import (
    broken,
    findings_text,
    ok,
    summary,
    unknown,
    warning,
)

ALL = (
    ok("Fine.", name="first"),
    warning("So\nso.", "Look\tat it.", name="second"),
    broken("\x1b[31mBad.", "Repair it.", name="third"),
    unknown("Dark.", "Make light.", name="fourth"),
)


def test_each_finding_is_a_line_with_its_remedy_below() -> None:
    """Marked by status, in columns, without control characters."""
    assert findings_text(ALL).splitlines() == [
        "✓ first   Fine.",
        "! second  So so.",
        "          → Look at it.",
        "✗ third   Bad.",
        "          → Repair it.",
        "? fourth  Dark.",
        "          → Make light.",
        "",
        "4 checks: 1 good, 1 to look at, 1 broken, 1 unknown.",
    ]


def test_the_summary_leaves_out_statuses_without_findings() -> None:
    """It also exists without any finding."""
    assert summary(ALL[:1]) == "1 check: 1 good."
    assert summary(()) == "0 checks: nothing was checked."
