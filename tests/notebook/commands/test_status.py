"""``%avocado_status`` in a session, with prepared states."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from spicy_avocado_magic.client import wait_ready
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.errors import UsageError
from spicy_avocado_magic.notebook.commands import status
from spicy_avocado_magic.notebook.commands.status import ENDED
from spicy_avocado_magic.protocol.event_log import FILE_NAME, TRANSITIONED, EventLog
from spicy_avocado_magic.protocol.state import Failure, State, TrafficStats
from spicy_avocado_magic.protocol.state_folder import StateFolder
from spicy_avocado_magic.system.redaction import Redactor

from ..conftest import READY, Service, Session
from ..display.pages import Page


def play(
    monkeypatch: pytest.MonkeyPatch, *states: State, interrupted: bool = False
) -> None:
    """Make ``watch`` yield these states, then end or be interrupted."""

    def watch(*, rehearse: bool) -> Iterator[State]:
        yield from states
        if interrupted:
            raise KeyboardInterrupt

    monkeypatch.setattr(wait_ready, "watch", watch)


def watch_in(
    session: Session, monkeypatch: pytest.MonkeyPatch, every_s: float = 0.0
) -> None:
    """Run ``%avocado_status --watch``, redrawn at most every so many seconds."""
    timeouts = replace(Timeouts(), watch_every_s=every_s)
    monkeypatch.setattr(status, "Timeouts", lambda: timeouts)
    session.run("%avocado_status --watch")


def test_a_notebook_gets_a_display_and_a_terminal_lines(
    session: Session, service: Service
) -> None:
    """Each once."""
    service.state = READY
    session.run("%avocado_status")
    assert READY.url in session.printed()
    session.pretend_to_be_a_kernel()
    session.run("%avocado_status")
    (shown,) = session.displays
    assert READY.url in shown["data"]["text/html"]
    assert session.printed() == ""


def test_watching_updates_one_display_until_interrupted(
    session: Session, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interrupt prints nothing; the last output has its folds again."""
    session.pretend_to_be_a_kernel()
    service.state = READY
    states = [replace(READY, requests=n) for n in range(3)]
    play(monkeypatch, *states, interrupted=True)
    watch_in(session, monkeypatch)
    first, *others = session.displays
    assert [shown["update"] for shown in (first, *others)] == [False, True, True, True]
    assert "2 accepted" in Page(others[-1]["data"]["text/html"]).text
    assert "data-fold" not in others[-2]["data"]["text/html"]
    assert "data-fold" in others[-1]["data"]["text/html"]
    assert session.printed() == "", "the interrupt is not quiet"


def test_watching_ends_with_the_service(
    session: Session, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line says so."""
    session.pretend_to_be_a_kernel()
    service.state = READY
    play(monkeypatch, READY)
    watch_in(session, monkeypatch)
    assert session.printed().strip() == ENDED


def test_watching_is_limited_to_one_draw_per_interval(
    session: Session, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However fast the states arrive."""
    session.pretend_to_be_a_kernel()
    service.state = READY
    play(monkeypatch, *(replace(READY, requests=n) for n in range(100)))
    watch_in(session, monkeypatch, every_s=60.0)
    assert len(session.displays) == 2, "the first, and what stays"


def test_in_a_pipe_only_events_are_printed(
    session: Session, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed count is not an event."""
    service.state = READY
    counts = [replace(READY, requests=n, sequence=1) for n in range(5)]
    play(monkeypatch, *counts, replace(READY, sequence=2))
    watch_in(session, monkeypatch)
    printed = session.printed()
    assert printed.count(READY.url) == 2
    assert "\x1b" not in printed


def test_a_dict_cannot_be_watched(session: Session, service: Service) -> None:
    """The two flags exclude each other."""
    assert isinstance(session.fail("%avocado_status --json --watch"), UsageError)


def log_failure() -> None:
    """Write a failure of the tunnel to the event log."""
    path = StateFolder.find(rehearsal=False).path / FILE_NAME
    failure = Failure(kind="TunnelFailed", problem="It fell.", remedy="Wait.")
    EventLog(path, Redactor()).record(
        "tunnel", TRANSITIONED, "It fell.", failure=failure
    )


def test_recent_errors_are_shown(session: Session, service: Service) -> None:
    """All in the event log, recovered or not; also in the dict."""
    service.state = READY
    assert session.run("%avocado_status --json")["last_errors"] == []
    log_failure()
    session.run("%avocado_status")
    assert re.search("error .*tunnel: It fell. → Wait.", session.printed())
    (error,) = session.run("%avocado_status --json")["last_errors"]
    assert error.pop("at").count(":") == 2
    expected = {"problem": "It fell.", "remedy": "Wait.", "times": 1}
    assert error == {"component": "tunnel"} | expected


def test_watching_shows_a_failed_request(
    session: Session, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new status code causes the recent errors to be read again."""
    session.pretend_to_be_a_kernel()
    service.state = READY

    def watch(*, rehearse: bool) -> Iterator[State]:
        yield READY
        yield READY
        log_failure()
        failed = replace(READY, traffic=TrafficStats(statuses=((500, 1),)))
        yield failed
        log_failure()
        yield replace(failed, requests=1)

    monkeypatch.setattr(wait_ready, "watch", watch)
    watch_in(session, monkeypatch)
    pages = [Page(shown["data"]["text/html"]).text for shown in session.displays]
    is_shown = ["It fell." in page for page in pages]
    assert is_shown == [False, True, True, True]
    assert "(2 times)" in pages[-1], "an error logged after the count is not shown"
