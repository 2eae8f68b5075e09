"""What is examined, as far as it can be read."""

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
    """Write what a host writes."""
    assert host is not None
    folder = StateFolder.find(rehearsal=False)
    folder.write_record(DaemonRecord(host=host))
    stored = to_json(Settings(models=("tiny",), sources=ELSEWHERE))
    write_private(folder.desired_state, json.dumps(stored))
    return folder


def test_a_running_services_settings_and_sources_are_examined() -> None:
    """They are what its host uses."""
    _leave(identify(os.getpid()))
    context = load_context(DoctorRequest(sources=HERE))
    assert context.is_running
    assert context.settings.models == ("tiny",)
    assert context.settings.sources == ELSEWHERE


def test_what_a_dead_host_wanted_is_examined_where_things_are_now() -> None:
    """The world that its rehearsal had is gone."""
    _leave(Identity(pid=2**22 + 1, start="never"))
    context = load_context(DoctorRequest(sources=HERE))
    assert not context.is_running
    assert context.settings.models == ("tiny",)
    assert context.settings.sources == HERE


def test_what_cannot_be_read_leaves_an_empty_case(home: Path) -> None:
    """Files cut short, foreign files, a folder that is none."""
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
