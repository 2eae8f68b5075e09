"""What went wrong in the life of a service."""

from __future__ import annotations

import json
from pathlib import Path

from spicy_avocado_magic.client.recent_errors import recent_errors
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
    """Return the recorder of a host that has just begun."""
    record = EventLog(folder / FILE_NAME, Redactor())
    record.record("host", STARTED)
    return record


def fail(record: EventLog, problem: str) -> None:
    """Let the tunnel fall."""
    failure = Failure(kind="TunnelFailed", problem=problem, remedy="Wait.")
    record.record("tunnel", TRANSITIONED, problem, failure=failure)


def test_only_what_went_wrong_in_this_life_is_told(tmp_path: Path) -> None:
    """Not the errors of a host before, and not what went well."""
    fail(recorder_in(tmp_path), "long ago")
    record = recorder_in(tmp_path)
    record.record("tunnel", TRANSITIONED, "connecting")
    fail(record, "now")
    (error,) = recent_errors(StateFolder(tmp_path))
    assert (error.component, error.problem, error.remedy) == ("tunnel", "now", "Wait.")
    assert len(error.at) == len("2026-11-25 14:03:07"), f"{error.at} is no time"


def test_the_same_error_in_a_row_is_one(tmp_path: Path) -> None:
    """A network that is away for an hour does not push the rest out of sight."""
    record = recorder_in(tmp_path)
    for problem in ("a", *["b"] * 50, "a"):
        fail(record, problem)
    told = [(one.problem, one.times) for one in recent_errors(StateFolder(tmp_path))]
    assert told == [("a", 1), ("b", 50), ("a", 1)]


def test_the_last_few_are_told(tmp_path: Path) -> None:
    """In their order; no folder has to hold any."""
    assert recent_errors(StateFolder(tmp_path)) == ()
    record = recorder_in(tmp_path)
    for number in range(9):
        fail(record, str(number))
    told = [one.problem for one in recent_errors(StateFolder(tmp_path), 3)]
    assert told == ["6", "7", "8"]


def test_a_line_without_a_time_is_told_all_the_same(tmp_path: Path) -> None:
    """A file that was cut or altered is no reason to say nothing."""
    line = '{"what": "changed", "error": "X", "text": "odd", "time": "?"}\n'
    (tmp_path / FILE_NAME).write_text(line)
    (error,) = recent_errors(StateFolder(tmp_path))
    assert (error.at, error.problem) == ("some time", "odd")


def answer(folder: Path, status: int, **facts: object) -> None:
    """Write a request of this hour, or as told, into the access log."""
    told: dict[str, object] = {"time": "2999-01-01T00:00:00.000Z", "method": "POST"}
    told |= {"route": "/api/chat", "status": status, "key": "ann", "model": "tiny"}
    with (folder / "access.log").open("a") as file:
        file.write(json.dumps(told | facts) + "\n")


def test_requests_that_the_service_failed_are_told(tmp_path: Path) -> None:
    """Among the rest by their time; neither clients' mistakes nor a former life's."""
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
