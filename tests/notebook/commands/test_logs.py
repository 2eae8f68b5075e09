"""``%avocado_logs`` in a session, with prepared log files."""

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


def write_log(*texts: str, rehearsal: bool = False) -> None:
    """Write lines to the event log."""
    path = StateFolder.find(rehearsal=rehearsal).path / FILE_NAME
    record = EventLog(path, Redactor())
    for text in texts:
        record(text)


def test_the_end_of_the_logs_is_printed_without_a_service(session: Session) -> None:
    """The requested number of lines is printed; the cell has no value."""
    write_log("one", "two", "three")
    assert session.run("%avocado_logs -n 2") is None
    shown = session.printed().splitlines()
    assert [line.split()[-1] for line in shown] == ["two", "three"]
    session.run("%avocado_logs tunnel")
    assert "three" not in session.printed()


def test_without_logs_a_line_says_so(session: Session) -> None:
    """It is not an error."""
    session.run("%avocado_logs")
    assert "There are no logs" in session.printed()


def test_a_rehearsals_logs_are_marked(session: Session) -> None:
    """Like every output of a rehearsal."""
    write_log("one", rehearsal=True)
    session.run("%avocado_logs")
    assert session.printed().startswith("REHEARSAL")


def test_help_is_shown_without_reading_anything(session: Session) -> None:
    """It is the help of this command."""
    session.run("%avocado_logs --help")
    assert "--follow" in session.printed()


def test_a_misspelt_component_gets_the_closest_match(session: Session) -> None:
    """The error has no traceback."""
    error = session.fail("%avocado_logs engin")
    assert isinstance(error, UsageError)
    assert "Did you mean engine?" in error.remedy


def test_an_interrupt_ends_follow_quietly(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines so far are shown, and the cell succeeds."""

    def follow(*_arguments: object) -> Iterator[LogLine]:
        yield LogLine(at_s=0, component="host", text="first")
        yield LogLine(at_s=0, component="host", text="second")
        raise KeyboardInterrupt

    monkeypatch.setattr(log_reader, "follow_logs", follow)
    write_log("x", rehearsal=True)
    assert session.run("%avocado_logs --follow") is None
    shown = session.printed()
    assert "first" in shown
    assert "second" in shown
    assert shown.count("REHEARSAL") == 1, "each line is marked"


def test_status_shows_how_the_last_service_ended(session: Session) -> None:
    """Not only that nothing is running."""
    session.run("%avocado_status")
    assert "%avocado_up MODEL starts a service." in session.printed()
    write_log("something happened")
    session.run("%avocado_status")
    shown = session.printed()
    assert shown.startswith("Nothing is running. The last service")
    assert "%avocado_logs" in shown
