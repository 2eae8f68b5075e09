"""Watching a running service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spicy_avocado_magic.client import wait_ready
from spicy_avocado_magic.protocol.state import State
from spicy_avocado_magic.protocol.state_folder import StateFolder


class Daemon:
    """Stands in for a control client."""

    asked_after = -1

    def state(self) -> State:
        """Return the present state."""
        return State(pid=1, sequence=7)

    def follow(self, after: int = 0) -> Iterator[State]:
        """Yield two states, then end."""
        self.asked_after = after
        yield State(pid=1, sequence=7)
        yield State(pid=1, sequence=8)


def run_daemons(monkeypatch: pytest.MonkeyPatch, daemons: dict[str, Daemon]) -> None:
    """Let these daemons be found, by the name of their folder."""

    def folders(*, rehearse: bool) -> tuple[StateFolder, ...]:
        names = ("rehearsal",) if rehearse else ("real", "rehearsal")
        return tuple(StateFolder(Path(name)) for name in names)

    monkeypatch.setattr(wait_ready, "candidate_state_folders", folders)
    monkeypatch.setattr(wait_ready, "find_daemon", lambda f: daemons.get(f.path.name))


def test_the_running_service_is_watched_until_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Earlier events are not requested."""
    daemon = Daemon()
    run_daemons(monkeypatch, {"rehearsal": daemon})
    assert [s.sequence for s in wait_ready.watch(rehearse=False)] == [7, 8]
    assert daemon.asked_after == 7, "earlier events were requested"


def test_a_real_service_is_watched_before_a_rehearsal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With ``rehearse`` it is the other way round."""
    real, rehearsal = Daemon(), Daemon()
    run_daemons(monkeypatch, {"real": real, "rehearsal": rehearsal})
    assert len(list(wait_ready.watch(rehearse=False))) == 2, "both are watched"
    assert rehearsal.asked_after == -1
    assert len(list(wait_ready.watch(rehearse=True))) == 2
    assert rehearsal.asked_after == 7


def test_watching_ends_at_once_if_nothing_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is no state to show."""
    run_daemons(monkeypatch, {})
    assert list(wait_ready.watch(rehearse=False)) == []
