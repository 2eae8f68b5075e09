"""The input of the checks, as far as it can be read."""

from __future__ import annotations

import json
import os
from pathlib import Path

from spicy_avocado_magic.config.settings import Endpoints, Settings
from spicy_avocado_magic.doctor.context import DoctorRequest, load_context
from spicy_avocado_magic.protocol.json_codec import to_json
from spicy_avocado_magic.protocol.state_folder import (
    DaemonRecord,
    StateFolder,
    write_private,
)
from spicy_avocado_magic.system.processes import Identity, identify

ELSEWHERE = Endpoints(registry="127.0.0.1:7")
HERE = Endpoints(registry="127.0.0.1:8")


def _leave(host: Identity | None) -> StateFolder:
    """Write the files of a daemon."""
    assert host is not None
    folder = StateFolder.find(rehearsal=False)
    folder.write_record(DaemonRecord(host=host))
    stored = to_json(Settings(models=("tiny",), sources=ELSEWHERE))
    write_private(folder.desired_state, json.dumps(stored))
    return folder


def test_settings_and_endpoints_of_a_running_service_are_used() -> None:
    """Its daemon uses them."""
    _leave(identify(os.getpid()))
    context = load_context(DoctorRequest(sources=HERE))
    assert context.is_running
    assert context.settings.models == ("tiny",)
    assert context.settings.sources == ELSEWHERE


def test_settings_of_a_dead_daemon_are_used_with_new_endpoints() -> None:
    """The world of its rehearsal has ended."""
    _leave(Identity(pid=2**22 + 1, start="never"))
    context = load_context(DoctorRequest(sources=HERE))
    assert not context.is_running
    assert context.settings.models == ("tiny",)
    assert context.settings.sources == HERE


def test_files_that_cannot_be_read_leave_default_settings(home: Path) -> None:
    """They may be truncated or of another user, or the folder is a file."""
    folder = _leave(identify(os.getpid()))
    folder.desired_state.write_text("{")
    assert load_context(DoctorRequest()).settings == Settings()
    folder.desired_state.chmod(0o644)
    assert load_context(DoctorRequest()).settings == Settings()
    for file in folder.path.iterdir():
        file.unlink()
    folder.path.rmdir()
    folder.path.symlink_to(home)
    context = load_context(DoctorRequest())
    assert context.folder is None
