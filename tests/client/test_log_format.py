"""Parsing of log lines: time, component, and no control characters."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from spicy_avocado_magic.client.log_format import LineReader, LogLine
from spicy_avocado_magic.system.redaction import Redactor

NOON_S = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()


@pytest.fixture(autouse=True)
def utc() -> Iterator[None]:
    """Set the local time zone to UTC."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def read(name: str, *lines: str) -> list[LogLine]:
    """Return the parsed lines of a log."""
    return list(LineReader(name, NOON_S - 60, Redactor(["secret-of-ann"])).read(lines))


@pytest.mark.parametrize(
    ("name", "line", "after_noon_s", "component"),
    [
        ("engine", "time=2026-11-25T12:00:01.5Z level=INFO msg=x", 1.5, "engine"),
        ("engine", "time=2026-11-25T14:00:02.123456789+02:00 x", 2.123456, "engine"),
        ("engine", "2026/11/25 12:00:03 routes.go:5: x", 3, "engine"),
        ("engine", '[GIN] 2026/11/25 - 12:00:04 | 200 | POST "/x"', 4, "engine"),
        ("engine", "2026/13/45 12:00:03 nonsense", -60, "engine"),
        ("engine", "time=soon msg=x", -60, "engine"),
        ("agent", "2026-11-25T12:00:05.000Z t=… lvl=info msg=x", 5, "tunnel"),
        ("agent", "no time here", -60, "tunnel"),
        ("host", "Traceback (most recent call last):", -60, "host"),
        ("rehearsal", "x", -60, "rehearsal"),
        (
            "flight",
            '{"time": "2026-11-25T12:00:06.000Z", "component": "models", "text": "x"}',
            6,
            "models",
        ),
        ("flight", "half a li", -60, "host"),
        ("access", '{"time": "2026-11-25T12:00:07.000Z"}', -60, "gateway"),
    ],
)
def test_time_and_component_follow_from_the_format_of_the_log(
    name: str, line: str, after_noon_s: float, component: str
) -> None:
    """A line without a time has the file's, and no line is an error."""
    (found,) = read(name, line)
    assert found.at_s == pytest.approx(NOON_S + after_noon_s)
    assert found.component == component


def test_an_access_line_becomes_readable_text() -> None:
    """Fields without a value are left out."""
    request = {
        "time": "2026-11-25T12:00:00.000Z",
        "method": "POST",
        "route": "/api/chat",
        "status": 200,
        "key": "ann",
        "model": "tiny",
        "ms": 12.5,
        "tokens_in": 3,
        "tokens_out": 4,
    }
    (line,) = read("access", json.dumps(request))
    assert line.text == (
        "POST /api/chat 200 key=ann model=tiny 12.5 ms 3 tokens in, 4 out"
    )
    assert str(line) == f"2026-11-25 12:00:00.000 gateway   {line.text}"
    none = request | {"key": None, "model": None, "tokens_in": 0, "tokens_out": 0}
    (line,) = read("access", json.dumps(none))
    assert line.text == "POST /api/chat 200 12.5 ms"


def test_a_line_without_a_time_has_that_of_its_neighbour() -> None:
    """A traceback keeps its place."""
    lines = read(
        "engine",
        "llama_model_loader: x",
        "time=2026-11-25T12:00:01Z msg=x",
        "load_tensors: x",
        "time=2026-11-25T12:00:09Z msg=x",
    )
    assert [line.at_s - NOON_S for line in lines] == [1, 1, 1, 9]


def test_control_characters_and_secrets_are_not_shown() -> None:
    """Empty lines are left out, and long ones are cut."""
    evil = "\x1b[31mred\x1b[0m \x1b]0;title\x07\x07 \u202esecret-of-ann\tx"
    red, long = read("engine", evil, "", " \t", "y" * 10_000)
    assert red.text == "red ••• x"
    assert str(red).isprintable(), "a terminal would obey it"
    assert len(long.text) < 2100, "a line has no end"
