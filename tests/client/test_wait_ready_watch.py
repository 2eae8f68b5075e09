"""Following a service that runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spicy_avocado_magic.client import wait_ready
from spicy_avocado_magic.protocol.state import State
from spicy_avocado_magic.protocol.state_folder import StateFolder


class Host:
    """Stands in for a connection to a host."""

    asked_after = -1

    def state(self) -> State:
        """Return where it is."""
        return State(pid=1, sequence=7)

    def follow(self, after: int = 0) -> Iterator[State]:
        """Yield two states, then end as a host does."""
        self.asked_after = after
        yield State(pid=1, sequence=7)
        yield State(pid=1, sequence=8)


def run_hosts(monkeypatch: pytest.MonkeyPatch, hosts: dict[str, Host]) -> None:
    """Let these hosts be found, by the name of their folder."""

    def folders(*, rehearse: bool) -> tuple[StateFolder, ...]:
        names = ("rehearsal",) if rehearse else ("real", "rehearsal")
        return tuple(StateFolder(Path(name)) for name in names)

    monkeypatch.setattr(wait_ready, "candidate_state_folders", folders)
    monkeypatch.setattr(wait_ready, "find_daemon", lambda one: hosts.get(one.path.name))


def test_the_host_that_runs_is_followed_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From now on: its past is not sent again."""
    host = Host()
    run_hosts(monkeypatch, {"rehearsal": host})
    assert [s.sequence for s in wait_ready.watch(rehearse=False)] == [7, 8]
    assert host.asked_after == 7, "the events of the past were asked for"


def test_a_real_host_goes_before_a_rehearsal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless a rehearsal is asked for."""
    real, rehearsal = Host(), Host()
    run_hosts(monkeypatch, {"real": real, "rehearsal": rehearsal})
    assert len(list(wait_ready.watch(rehearse=False))) == 2, "both are followed"
    assert rehearsal.asked_after == -1
    assert len(list(wait_ready.watch(rehearse=True))) == 2
    assert rehearsal.asked_after == 7


def test_where_nothing_runs_there_is_nothing_to_watch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It ends at once."""
    run_hosts(monkeypatch, {})
    assert list(wait_ready.watch(rehearse=False)) == []
