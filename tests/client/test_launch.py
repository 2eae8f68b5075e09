"""Cleaning up after a dead daemon, and leaving a living one alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from spicy_avocado_magic.client.launch import clean_up_dead_daemon
from spicy_avocado_magic.protocol.event_log import (
    CRASHED,
    ENDED,
    FILE_NAME,
    GUARD,
    EventLog,
    read_tail,
    record_death,
)
from spicy_avocado_magic.protocol.state_folder import (
    Child,
    DaemonRecord,
    StateFolder,
)
from spicy_avocado_magic.system.file_lock import hold_lock
from spicy_avocado_magic.system.processes import Identity, identify
from spicy_avocado_magic.system.redaction import Redactor
from tests.machine_speed import scaled

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_an_agent_without_a_record_is_found_by_its_config(tmp_path: Path) -> None:
    """The daemon died while it was starting it."""
    folder = StateFolder(tmp_path)
    command = [*SLEEP, str(folder.agent_config)]
    with subprocess.Popen(command, start_new_session=True) as agent:
        assert clean_up_dead_daemon(folder) == ("agent",)
        assert agent.wait(scaled(5)) != 0


def test_children_of_a_living_daemon_are_left_alone(tmp_path: Path) -> None:
    """A held lock means a living daemon, whatever the record says."""
    folder = StateFolder(tmp_path)
    with subprocess.Popen(SLEEP, start_new_session=True) as child:
        identity = identify(child.pid)
        assert identity is not None
        record = DaemonRecord(
            host=identity, children=(Child(name="engine", identity=identity),)
        )
        folder.write_record(record)
        with hold_lock(folder.lock) as is_ours:
            assert is_ours
            assert clean_up_dead_daemon(folder) is None
        assert child.poll() is None, "a living host's engine was ended"
        assert clean_up_dead_daemon(folder) == ("engine",)
        assert child.wait(scaled(5)) != 0


def test_a_crash_that_the_reaper_missed_is_recorded(tmp_path: Path) -> None:
    """Daemon and reaper were killed together."""
    folder = StateFolder(tmp_path)
    with subprocess.Popen(SLEEP, start_new_session=True) as child:
        engine = identify(child.pid)
        assert engine is not None
        children = (Child(name="engine", identity=engine),)
        dead = Identity(pid=child.pid, start="another")
        folder.write_record(DaemonRecord(host=dead, children=children))
        assert clean_up_dead_daemon(folder) == ("engine",)
    (entry,) = read_tail(tmp_path, 5)
    assert (entry.what, entry.facts["ended"]) == (CRASHED, ["engine"])
    assert clean_up_dead_daemon(folder) == ()
    assert len(read_tail(tmp_path, 5)) == 1, "one crash is recorded twice"


@pytest.mark.parametrize("kind", [CRASHED, ENDED])
def test_an_end_is_recorded_only_once(tmp_path: Path, kind: str) -> None:
    """The reaper or the daemon itself may have recorded it."""
    folder = StateFolder(tmp_path)
    folder.write_record(DaemonRecord(host=Identity(pid=2**22 + 1, start="x")))
    if kind == CRASHED:
        record_death(tmp_path / FILE_NAME, ["engine"], by=GUARD)
    else:
        EventLog(tmp_path / FILE_NAME, Redactor()).record("host", ENDED, "down")
    assert clean_up_dead_daemon(folder) == ()
    (entry,) = read_tail(tmp_path, 5)
    assert entry.what == kind
