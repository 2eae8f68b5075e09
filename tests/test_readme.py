"""The README is true: its table of options is the one that the code has."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

from spicy_avocado_magic.config.options import OPTIONS
from spicy_avocado_magic.system.platforms import PLATFORMS
from spicy_avocado_magic.tunnel.ngrok.error_codes import ERRORS_BY_CODE

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_table_has_every_option_and_no_other() -> None:
    """Who copies an option from the page has one that exists."""
    found = set(re.findall(r"^\| `(--[a-z-]+)", README, re.MULTILINE))
    known = {option.flag for option in OPTIONS}
    assert found == known, f"only in the page or only in the code: {found ^ known}"


def test_every_code_of_ngrok_that_we_explain_is_looked_up_there() -> None:
    """Who looks for a code finds what to do; 6024 is seen in browsers alone."""
    rows = re.findall(r"^\| (`ERR_NGROK_[^|]*)\|", README, re.MULTILINE)
    found = re.findall(r"`(?:ERR_NGROK_)?(\d+)`", "".join(rows))
    assert len(set(found)) == len(found), "a code is there twice"
    assert set(map(int, found)) == {*ERRORS_BY_CODE, 6024}


def test_the_table_of_platforms_has_every_row_and_a_true_mark_of_it() -> None:
    """Each platform by its name; each mark that is named is one that the code has."""
    rows = README.partition("## Where it runs")[2].partition("\n## ")[0].split("\n")
    table = [row.split(" | ") for row in rows if row.startswith("|")][2:]
    names = ", ".join(row[0] for row in table)
    for platform in PLATFORMS:
        name = "Datadog" if "Datadog" in platform.name else platform.name
        assert name in names, f"{name} is not in the page"
    marks = {mark for each in PLATFORMS for mark in (*each.variables, *each.files)}
    for found in re.findall(r"`([^`]+)`", " ".join(row[1] for row in table)):
        assert fnmatch.filter(marks, found), f"no platform is recognised by {found}"


def test_every_file_that_the_page_names_is_there() -> None:
    """A link or a picture that leads nowhere is the first thing a reader sees."""
    named = re.findall(r"\]\(([^)]+)\)|src(?:set)?=\"([^\"]+)\"", README)
    for target in {link or picture for link, picture in named}:
        if not target.startswith("https://"):
            assert (ROOT / target).is_file(), f"{target} is not there"
