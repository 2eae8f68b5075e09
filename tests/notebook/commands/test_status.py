"""``%avocado_status`` in a session, with a service that a test plays."""

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
    """Let the service go through states while it is watched, then end."""

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
    """Once each."""
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
    """Quietly; what stays has its folds again."""
    session.pretend_to_be_a_kernel()
    service.state = READY
    states = [replace(READY, requests=n) for n in range(3)]
    play(monkeypatch, *states, interrupted=True)
    watch_in(session, monkeypatch)
    first, *others = session.displays
    assert [one["update"] for one in (first, *others)] == [False, True, True, True]
    assert "2 accepted" in Page(others[-1]["data"]["text/html"]).text
    assert "data-fold" not in others[-2]["data"]["text/html"]
    assert "data-fold" in others[-1]["data"]["text/html"]
    assert session.printed() == "", "the interrupt is not quiet"


def test_the_end_of_a_service_ends_the_watching(
    session: Session, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is said."""
    session.pretend_to_be_a_kernel()
    service.state = READY
    play(monkeypatch, READY)
    watch_in(session, monkeypatch)
    assert session.printed().strip() == ENDED


def test_watching_draws_no_more_often_than_the_policy_says(
    session: Session, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However fast states come."""
    session.pretend_to_be_a_kernel()
    service.state = READY
    play(monkeypatch, *(replace(READY, requests=n) for n in range(100)))
    watch_in(session, monkeypatch, every_s=60.0)
    assert len(session.displays) == 2, "the first, and what stays"


def test_in_a_pipe_only_what_has_happened_is_printed(
    session: Session, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts alone are no news."""
    service.state = READY
    counts = [replace(READY, requests=n, sequence=1) for n in range(5)]
    play(monkeypatch, *counts, replace(READY, sequence=2))
    watch_in(session, monkeypatch)
    printed = session.printed()
    assert printed.count(READY.url) == 2
    assert "\x1b" not in printed


def test_a_dict_cannot_be_watched(session: Session, service: Service) -> None:
    """One of the two is meant."""
    assert isinstance(session.fail("%avocado_status --json --watch"), UsageError)


def fall() -> None:
    """Let the tunnel fall, as the flight recorder tells."""
    path = StateFolder.find(rehearsal=False).path / FILE_NAME
    failure = Failure(kind="TunnelFailed", problem="It fell.", remedy="Wait.")
    EventLog(path, Redactor()).record(
        "tunnel", TRANSITIONED, "It fell.", failure=failure
    )


def test_errors_of_the_past_are_shown(session: Session, service: Service) -> None:
    """Those that the flight recorder holds, mended or not; in the dict as well."""
    service.state = READY
    assert session.run("%avocado_status --json")["last_errors"] == []
    fall()
    session.run("%avocado_status")
    assert re.search("error .*tunnel: It fell. → Wait.", session.printed())
    (error,) = session.run("%avocado_status --json")["last_errors"]
    assert error.pop("at").count(":") == 2
    told = {"problem": "It fell.", "remedy": "Wait.", "times": 1}
    assert error == {"component": "tunnel"} | told


def test_watching_tells_of_a_request_that_failed(
    session: Session, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though counts alone are no news, one of another status may be an error."""
    session.pretend_to_be_a_kernel()
    service.state = READY

    def watch(*, rehearse: bool) -> Iterator[State]:
        yield READY
        yield READY
        fall()
        failed = replace(READY, traffic=TrafficStats(statuses=((500, 1),)))
        yield failed
        fall()
        yield replace(failed, requests=1)

    monkeypatch.setattr(wait_ready, "watch", watch)
    watch_in(session, monkeypatch)
    pages = [Page(one["data"]["text/html"]).text for one in session.displays]
    told = ["It fell." in page for page in pages]
    assert told == [False, True, True, True]
    assert "(2 times)" in pages[-1], "what is logged after the count is not told"
