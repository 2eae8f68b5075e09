"""A Modelfile is read as the engine reads it, as far as paths, bases and lines go."""

from __future__ import annotations

from pathlib import Path

import pytest

from spicy_avocado_magic.config.modelfile import (
    Instruction,
    base_models,
    instructions,
    parse_create_error,
    with_absolute_paths,
)
from spicy_avocado_magic.errors import UsageError

LONG = '''# a comment
FROM llama3

PARAMETER\tstop "a b"
SYSTEM """
FROM ./this-is-said.gguf
"""
MESSAGE user "two
lines"
TEMPLATE {{ .Prompt }}
'''
UNKNOWN = 'command must be one of "from", "license", "parameter", or "message"'


def test_instructions_are_told_with_their_lines() -> None:
    """Comments and blank lines count, and quotes hold what looks like another."""
    assert list(instructions(LONG)) == [
        Instruction(line=2, name="from", value="llama3"),
        Instruction(line=4, name="parameter", value='stop "a b"'),
        Instruction(line=5, name="system", value='"""\nFROM ./this-is-said.gguf\n"""'),
        Instruction(line=8, name="message", value='user "two\nlines"'),
        Instruction(line=10, name="template", value="{{ .Prompt }}"),
    ]


def test_a_quote_that_is_never_closed_ends_with_the_text() -> None:
    """The engine says what is wrong with it."""
    (one,) = instructions('SYSTEM """never\nclosed\n')
    assert one.value.endswith("closed")


def test_what_is_in_the_folder_is_told_by_its_whole_path(tmp_path: Path) -> None:
    """And no line changes its number; a name of nothing there is a model's."""
    (tmp_path / "my model.gguf").touch()
    (tmp_path / "part-1.gguf").touch()
    text = "# mine\nfrom ./my model.gguf\nFROM part-*.gguf\nFROM tiny\n" + LONG
    lines = with_absolute_paths(text, tmp_path).splitlines()
    assert lines[1] == f"FROM {tmp_path}/my model.gguf"
    assert lines[2] == f"FROM {tmp_path}/part-*.gguf"
    assert lines[3] == "FROM tiny"
    assert lines[4:] == LONG.splitlines(), "what is said was taken for a path"


@pytest.mark.parametrize(
    "path", ["./x.gguf", "../x", "/nowhere/x", "~/no-such-model", "x.gguf", "/x-*.gguf"]
)
def test_a_path_that_leads_nowhere_is_told(tmp_path: Path, path: str) -> None:
    """With its line and where it leads from; the engine would call it a bad name."""
    with pytest.raises(UsageError) as caught:
        with_absolute_paths(f"FROM tiny\nADAPTER {path}", tmp_path)
    assert f"Line 3 of this cell: '{path}' does not exist" in caught.value.problem
    assert str(tmp_path) in caught.value.remedy


def test_a_text_without_a_newline_or_with_odd_paths_passes(tmp_path: Path) -> None:
    """What no file system takes is left to the engine."""
    for text in ("FROM tiny", "FROM a\0b", f"FROM {'x' * 5000}", "FROM ~nobody-at-all"):
        assert with_absolute_paths(text, tmp_path) == f"{text}\n"


def test_base_models_are_those_that_are_no_files() -> None:
    """By their full names; what can be no name is passed over."""
    text = "FROM hf.co/a/b:Q4\nFROM /models/x.gguf\nFROM a//b//c/d\nSYSTEM FROM x\n"
    assert [name.short for name in base_models(text)] == ["hf.co/a/b:Q4"]


@pytest.mark.parametrize(
    ("text", "said", "line", "quoted"),
    [
        ("FROM tiny\nSTOP x\n", f"(line 2): {UNKNOWN}", 3, "STOP x"),
        # A lone word is told as of the line after it.
        ("FROM tiny\nSTOP\nPARAMETER a b\n", f"(line 3): {UNKNOWN}", 3, "STOP"),
        ("FROM tiny\nSTOP\n", f"(line 3): {UNKNOWN}", 3, "STOP"),
        ("FROM tiny\nSTOP\n\n", f"(line 3): {UNKNOWN}", 3, "STOP"),
        (
            "FROM tiny\nPARAMETER temprature 1\n",
            "unknown parameter 'temprature'",
            3,
            "temprature",
        ),
        (
            "FROM tiny\nPARAMETER num_ctx 1\nPARAMETER temperature hot\n",
            "invalid float value [hot]",
            4,
            "hot",
        ),
    ],
)
def test_a_mistake_is_told_with_the_line_of_the_cell(
    text: str, said: str, line: int, quoted: str
) -> None:
    """The magic itself is line 1."""
    error = parse_create_error(text, said)
    assert error.problem.startswith(f"Line {line} of this cell")
    assert quoted in error.problem
    assert "(line" not in error.problem, "two numbers for one line"


def test_a_mistake_without_a_line_is_told_all_the_same() -> None:
    """As that there is no FROM."""
    error = parse_create_error("SYSTEM hi\n", "no FROM line")
    assert "no FROM line" in error.problem
    assert "Line" not in error.problem.partition(":")[0]
    assert "Modelfile" in error.remedy
