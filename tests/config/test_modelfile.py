"""The parser of Modelfiles: lines, paths, base models and errors."""

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
FROM ./quoted-text.gguf
"""
MESSAGE user "two
lines"
TEMPLATE {{ .Prompt }}
'''
UNKNOWN = 'command must be one of "from", "license", "parameter", or "message"'


def test_instructions_have_their_line_numbers() -> None:
    """Comments and blank lines count, and quoted text is no instruction."""
    assert list(instructions(LONG)) == [
        Instruction(line=2, name="from", value="llama3"),
        Instruction(line=4, name="parameter", value='stop "a b"'),
        Instruction(line=5, name="system", value='"""\nFROM ./quoted-text.gguf\n"""'),
        Instruction(line=8, name="message", value='user "two\nlines"'),
        Instruction(line=10, name="template", value="{{ .Prompt }}"),
    ]


def test_an_unclosed_quote_ends_with_the_text() -> None:
    """The engine reports the error."""
    (item,) = instructions('SYSTEM """never\nclosed\n')
    assert item.value.endswith("closed")


def test_paths_in_the_folder_become_absolute(tmp_path: Path) -> None:
    """No line changes its number; other names are models."""
    (tmp_path / "my model.gguf").touch()
    (tmp_path / "part-1.gguf").touch()
    text = "# mine\nfrom ./my model.gguf\nFROM part-*.gguf\nFROM tiny\n" + LONG
    lines = with_absolute_paths(text, tmp_path).splitlines()
    assert lines[1] == f"FROM {tmp_path}/my model.gguf"
    assert lines[2] == f"FROM {tmp_path}/part-*.gguf"
    assert lines[3] == "FROM tiny"
    assert lines[4:] == LONG.splitlines(), "quoted text was taken for a path"


@pytest.mark.parametrize(
    "path", ["./x.gguf", "../x", "/nowhere/x", "~/no-such-model", "x.gguf", "/x-*.gguf"]
)
def test_a_path_that_does_not_exist_is_an_error(tmp_path: Path, path: str) -> None:
    """It names the line and the folder at which paths start."""
    with pytest.raises(UsageError) as caught:
        with_absolute_paths(f"FROM tiny\nADAPTER {path}", tmp_path)
    assert f"Line 3 of this cell: '{path}' does not exist" in caught.value.problem
    assert str(tmp_path) in caught.value.remedy


def test_a_text_without_a_newline_or_with_odd_paths_is_accepted(tmp_path: Path) -> None:
    """Impossible paths are left to the engine."""
    for text in ("FROM tiny", "FROM a\0b", f"FROM {'x' * 5000}", "FROM ~nobody-at-all"):
        assert with_absolute_paths(text, tmp_path) == f"{text}\n"


def test_base_models_are_names_and_not_files() -> None:
    """By their full names; invalid ones are left out."""
    text = "FROM hf.co/a/b:Q4\nFROM /models/x.gguf\nFROM a//b//c/d\nSYSTEM FROM x\n"
    assert [name.short for name in base_models(text)] == ["hf.co/a/b:Q4"]


@pytest.mark.parametrize(
    ("text", "message", "line", "quoted"),
    [
        ("FROM tiny\nSTOP x\n", f"(line 2): {UNKNOWN}", 3, "STOP x"),
        # The engine reports a line with a single word as the next line.
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
def test_an_error_of_the_engine_has_the_line_of_the_cell(
    text: str, message: str, line: int, quoted: str
) -> None:
    """The magic itself is line 1."""
    error = parse_create_error(text, message)
    assert error.problem.startswith(f"Line {line} of this cell")
    assert quoted in error.problem
    assert "(line" not in error.problem, "two numbers for one line"


def test_an_error_without_a_line_is_shown_as_well() -> None:
    """Such as a missing FROM."""
    error = parse_create_error("SYSTEM hi\n", "no FROM line")
    assert "no FROM line" in error.problem
    assert "Line" not in error.problem.partition(":")[0]
    assert "Modelfile" in error.remedy
