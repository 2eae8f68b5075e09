"""``down`` verifies that nothing is left, and lists what is."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from spicy_avocado_magic.client import down, launch
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.errors import DaemonUnreachable
from spicy_avocado_magic.protocol.state_folder import Child, DaemonRecord, StateFolder
from spicy_avocado_magic.system.processes import Identity, identify
from tests.machine_speed import scaled


def test_the_error_lists_the_processes_that_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ``down`` never claims that all has ended if it has not."""
    folder = StateFolder(tmp_path)
    with (
        subprocess.Popen(["sleep", "60"], start_new_session=True) as host,
        subprocess.Popen(["sleep", "60"], start_new_session=True) as child,
    ):
        alive, other = identify(host.pid), identify(child.pid)
        assert alive is not None
        assert other is not None
        record = DaemonRecord(
            host=alive, children=(Child(name="engine", identity=other),)
        )
        folder.write_record(record)
        for module in (down, launch):
            monkeypatch.setattr(module, "end_group", lambda *_, **__: None)
        with pytest.raises(DaemonUnreachable, match=r"engine.*host"):
            down.stop_daemon(folder, timeouts=Timeouts(down_s=0.1))
        host.kill()
        child.kill()


def test_a_daemon_that_does_not_end_in_time_is_killed(tmp_path: Path) -> None:
    """Even if nobody answers on its socket."""
    folder = StateFolder(tmp_path)
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as host:
        identity = identify(host.pid)
        assert identity is not None
        folder.write_record(DaemonRecord(host=identity))
        folder.desired_state.write_text("{}")
        ended = down.stop_daemon(folder, timeouts=Timeouts(down_s=0.1))
        assert host.wait(scaled(5)) != 0
    assert ended.was_running
    assert not folder.desired_state.exists()


def test_a_hung_daemon_is_killed_without_a_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It accepts connections and answers none."""
    monkeypatch.setattr(down, "_ANSWER_S", 0.05)
    waits: list[float] = []
    wait_gone = down._wait_gone

    def watched(host: Identity, wait_s: float) -> None:
        waits.append(wait_s)
        wait_gone(host, wait_s)

    monkeypatch.setattr(down, "_wait_gone", watched)
    folder = StateFolder(tmp_path)
    with (
        socket.socket(socket.AF_UNIX) as deaf,
        subprocess.Popen(["sleep", "60"], start_new_session=True) as host,
    ):
        deaf.bind(str(folder.socket))
        deaf.listen()
        identity = identify(host.pid)
        assert identity is not None
        folder.write_record(DaemonRecord(host=identity))
        assert down.stop_daemon(folder).was_running
        assert host.wait(scaled(5)) != 0
    assert waits == [0.0], "a hung host was waited for"
