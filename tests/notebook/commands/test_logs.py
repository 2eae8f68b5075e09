"""``%avocado_logs`` in a session, over the files that a host left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spicy_avocado_magic.client import log_reader
from spicy_avocado_magic.client.log_format import LogLine
from spicy_avocado_magic.errors import UsageError
from spicy_avocado_magic.protocol.event_log import FILE_NAME, EventLog
from spicy_avocado_magic.protocol.state_folder import StateFolder
from spicy_avocado_magic.system.redaction import Redactor

from ..conftest import Session


def leave(*texts: str, rehearsal: bool = False) -> None:
    """Leave notes of a host that is no more."""
    path = StateFolder.find(rehearsal=rehearsal).path / FILE_NAME
    record = EventLog(path, Redactor())
    for text in texts:
        record(text)


def test_the_end_of_the_logs_is_printed_without_a_host(session: Session) -> None:
    """As many lines as are asked for, and nothing is the cell's value."""
    leave("one", "two", "three")
    assert session.run("%avocado_logs -n 2") is None
    shown = session.printed().splitlines()
    assert [line.split()[-1] for line in shown] == ["two", "three"]
    session.run("%avocado_logs tunnel")
    assert "three" not in session.printed()


def test_where_nothing_ran_that_is_said(session: Session) -> None:
    """No logs are no error."""
    session.run("%avocado_logs")
    assert "There are no logs" in session.printed()


def test_a_rehearsals_logs_are_marked(session: Session) -> None:
    """As every output of it."""
    leave("one", rehearsal=True)
    session.run("%avocado_logs")
    assert session.printed().startswith("REHEARSAL")


def test_help_is_shown_without_reading_anything(session: Session) -> None:
    """Also by ``?``, from the same text."""
    session.run("%avocado_logs --help")
    assert "--follow" in session.printed()


def test_a_misspelt_component_is_told_the_nearest(session: Session) -> None:
    """And no traceback."""
    error = session.fail("%avocado_logs engin")
    assert isinstance(error, UsageError)
    assert "Did you mean engine?" in error.remedy


def test_an_interrupt_ends_the_following_quietly(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came is shown, and the cell is no failure."""

    def follow(*_arguments: object) -> Iterator[LogLine]:
        yield LogLine(at_s=0, component="host", text="first")
        yield LogLine(at_s=0, component="host", text="second")
        raise KeyboardInterrupt

    monkeypatch.setattr(log_reader, "follow_logs", follow)
    leave("x", rehearsal=True)
    assert session.run("%avocado_logs --follow") is None
    shown = session.printed()
    assert "first" in shown
    assert "second" in shown
    assert shown.count("REHEARSAL") == 1, "each line is marked"


def test_status_tells_how_the_last_host_ended(session: Session) -> None:
    """In place of saying just that nothing runs."""
    session.run("%avocado_status")
    assert "%avocado_up MODEL starts a service." in session.printed()
    leave("something happened")
    session.run("%avocado_status")
    shown = session.printed()
    assert shown.startswith("Nothing is running. The last service")
    assert "%avocado_logs" in shown
