"""Near misses and binary sizes; other sizes and durations: ``test_state_text``."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import spicy_avocado_magic
from spicy_avocado_magic.formatting import (
    closest_match,
    did_you_mean,
    with_decimal_sizes,
)

PACKAGE = Path(spicy_avocado_magic.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
AS_OLLAMA_LOGS = {"rehearsal/fake_ollama/server.py"}
"""Stand-ins that write what the real program does."""


@pytest.mark.parametrize(
    ("text", "decimal"),
    [
        ("14.7 GiB", "15.8 GB"),
        (
            "it needs 8.0 GiB, and 512KiB is free",
            "it needs 8.6 GB, and 524.3 kB is free",
        ),
        ("4.7 GB of 1 TiB", "4.7 GB of 1.1 TB"),
        ("GiB", "GiB"),
    ],
)
def test_binary_sizes_of_other_programs_become_decimal(text: str, decimal: str) -> None:
    """The same amount is never shown in two units."""
    assert with_decimal_sizes(text) == decimal


def shown_texts(path: Path) -> set[str]:
    """Return a module's text constants without docstrings and attribute docs."""
    tree = ast.parse(path.read_text())
    docs = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docs
    }


def test_no_message_of_ours_shows_a_size_in_binary_units() -> None:
    """Downloads, disks and memory are all in kB, MB and GB."""
    binary = re.compile(r"(?:^|[^A-Za-z(\\])[KMGT]iB\b")
    found = {
        (path.relative_to(PACKAGE).as_posix(), text)
        for path in SOURCES
        for text in shown_texts(path)
        if binary.search(text)
    }
    assert {name for name, _ in found} <= AS_OLLAMA_LOGS, found


def test_the_closest_match_is_the_known_word_most_like_the_misspelt_one() -> None:
    """A word like none of them has no match."""
    assert closest_match("--tokn", ["--token", "--ttl"]) == "--token"
    assert not closest_match("xyz", ["--token"])


def test_the_remedy_names_the_closest_word_or_says_what_else_to_do() -> None:
    """A suffix shows how the word is written."""
    assert did_you_mean("egine", ["engine"], "Use x.") == "Did you mean engine?"
    assert did_you_mean("rp", ["rpm"], "Use x.", suffix="=…") == "Did you mean rpm=…?"
    assert did_you_mean("zzz", ["engine"], "Use x.") == "Use x."
