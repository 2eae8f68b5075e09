"""Sweeping up after a host that died, and leaving a living one alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from spicy_avocado_magic.client.launch import sweep
from spicy_avocado_magic.processes import identify
from spicy_avocado_magic.state_folder import Child, Record, StateFolder, hold_lock

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_an_agent_that_no_record_names_is_found_by_its_config(tmp_path: Path) -> None:
    """It was being started when the host died; its private config tells it."""
    folder = StateFolder(tmp_path)
    command = [*SLEEP, str(folder.agent_config)]
    with subprocess.Popen(command, start_new_session=True) as agent:
        assert sweep(folder) == ("agent",)
        assert agent.wait(5) != 0


def test_a_living_hosts_children_are_left_alone(tmp_path: Path) -> None:
    """Whoever holds the lock is alive, whatever the record says."""
    folder = StateFolder(tmp_path)
    with subprocess.Popen(SLEEP, start_new_session=True) as child:
        identity = identify(child.pid)
        assert identity is not None
        record = Record(
            host=identity, children=(Child(name="engine", identity=identity),)
        )
        folder.write_record(record)
        with hold_lock(folder.lock) as is_ours:
            assert is_ours
            assert sweep(folder) is None
        assert child.poll() is None, "a living host's engine was ended"
        assert sweep(folder) == ("engine",)
        assert child.wait(5) != 0
