"""The list of recent errors."""

from __future__ import annotations

import json
from pathlib import Path

from spicy_avocado_magic.client.last_run import recent_errors
from spicy_avocado_magic.protocol.event_log import (
    FILE_NAME,
    STARTED,
    TRANSITIONED,
    EventLog,
)
from spicy_avocado_magic.protocol.state import Failure
from spicy_avocado_magic.protocol.state_folder import StateFolder
from spicy_avocado_magic.system.redaction import Redactor


def recorder_in(folder: Path) -> EventLog:
    """Return the event log of a service that has just started."""
    record = EventLog(folder / FILE_NAME, Redactor())
    record.record("host", STARTED)
    return record


def fail(record: EventLog, problem: str) -> None:
    """Record a failure of the tunnel."""
    failure = Failure(kind="TunnelFailed", problem=problem, remedy="Wait.")
    record.record("tunnel", TRANSITIONED, problem, failure=failure)


def test_only_errors_since_the_last_start_are_listed(tmp_path: Path) -> None:
    """Errors of an earlier service and events without error are left out."""
    fail(recorder_in(tmp_path), "long ago")
    record = recorder_in(tmp_path)
    record.record("tunnel", TRANSITIONED, "connecting")
    fail(record, "now")
    (error,) = recent_errors(StateFolder(tmp_path))
    assert (error.component, error.problem, error.remedy) == ("tunnel", "now", "Wait.")
    assert len(error.at) == len("2026-11-25 14:03:07"), f"{error.at} is no time"


def test_equal_errors_in_a_row_are_merged(tmp_path: Path) -> None:
    """A network that is down for an hour does not hide all other errors."""
    record = recorder_in(tmp_path)
    for problem in ("a", *["b"] * 50, "a"):
        fail(record, problem)
    errors = recent_errors(StateFolder(tmp_path))
    assert [(error.problem, error.times) for error in errors] == [
        ("a", 1),
        ("b", 50),
        ("a", 1),
    ]


def test_the_last_few_errors_are_listed_in_order(tmp_path: Path) -> None:
    """An empty folder has none."""
    assert recent_errors(StateFolder(tmp_path)) == ()
    record = recorder_in(tmp_path)
    for number in range(9):
        fail(record, str(number))
    errors = recent_errors(StateFolder(tmp_path), 3)
    assert [error.problem for error in errors] == ["6", "7", "8"]


def test_an_error_without_a_time_is_listed(tmp_path: Path) -> None:
    """A damaged file does not hide the error."""
    line = '{"what": "changed", "error": "X", "text": "odd", "time": "?"}\n'
    (tmp_path / FILE_NAME).write_text(line)
    (error,) = recent_errors(StateFolder(tmp_path))
    assert (error.at, error.problem) == ("an unknown time", "odd")


def answer(folder: Path, status: int, **facts: object) -> None:
    """Write a request into the access log, far in the future by default."""
    request: dict[str, object] = {"time": "2999-01-01T00:00:00.000Z", "method": "POST"}
    request |= {"route": "/api/chat", "status": status, "key": "ann", "model": "tiny"}
    with (folder / "access.log").open("a") as file:
        file.write(json.dumps(request | facts) + "\n")


def test_requests_answered_with_a_server_error_are_listed(tmp_path: Path) -> None:
    """They stand in order of time, without client errors and earlier services."""
    fail(recorder_in(tmp_path), "It fell.")
    answer(tmp_path, 500, time="2001-01-01T00:00:00.000Z")
    for status in (200, 404, 499, 500, 500):
        answer(tmp_path, status)
    answer(tmp_path, 503, key=None, model=None)
    with (tmp_path / "access.log").open("a") as file:
        file.write('{"status": []}\nno JSON\n')
    fallen, failed, refused = recent_errors(StateFolder(tmp_path))
    assert fallen.problem == "It fell."
    assert failed.problem == (
        "POST /api/chat (model tiny, key ann) was answered with 500"
    )
    assert (failed.component, failed.times) == ("gateway", 2)
    assert "%avocado_logs" in failed.remedy
    assert refused.problem == "POST /api/chat was answered with 503"
