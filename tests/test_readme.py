"""The README is true: its table of options is the one that the code has."""

from __future__ import annotations

import re
from pathlib import Path

from spicy_avocado_magic.options import OPTIONS

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_table_has_every_option_and_no_other() -> None:
    """Who copies an option from the page has one that exists."""
    told = set(re.findall(r"^\| `(--[a-z-]+)", README, re.MULTILINE))
    known = {option.flag for option in OPTIONS}
    assert told == known, f"only in the page or only in the code: {told ^ known}"
