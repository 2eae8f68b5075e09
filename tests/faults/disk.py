"""The disk's rows: records and settings that are damaged, and disks that are full."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from spicy_avocado_magic import status
from spicy_avocado_magic.errors import (
    DiskTooSmall,
    PlatformUnsupported,
    VersionMismatch,
)
from spicy_avocado_magic.protocol.state_folder import Child, DaemonRecord, write_private
from spicy_avocado_magic.system.paths import models_folder
from spicy_avocado_magic.system.processes import Identity, identify
from tests.machine_speed import scaled
from tests.main_job.home import Home

from . import promises
from .ending import end_by_guard
from .fault import Engine, Fault
from .host import WHOLE_S, Timing, up_again
from .mounts import fill, read_only, tmpfs, why_no_mounts
from .service import Service

_NOBODY: Final = 65534
_NOT_OURS: Final = "could have been written or read by others"


def _record_truncated(service: Service) -> None:
    path = service.folder.record_path
    text = path.read_text()
    write_private(path, text[: len(text) // 2])
    state = status()
    assert state is not None, "status finds no host for its broken record"
    assert service.up("tiny").outcome == "reused", "up does not find the host"


def _record_of_another_version(service: Service) -> Timing:
    path = service.folder.record_path
    record = json.loads(path.read_text())
    write_private(path, json.dumps(record | {"protocol": 99}))
    for ask in (status, service.up):
        with pytest.raises(VersionMismatch, match="up --restart; the key stays"):
            ask()
    began = time.monotonic()
    service.up(restart=True)
    return None, promises.whole_again(service, began, WHOLE_S) - began


def _record_not_ours(spoil: Callable[[Path], None]) -> Callable[[Service], None]:
    def break_(service: Service) -> None:
        path = service.folder.record_path
        spoil(path)
        for ask in (status, service.up):
            with pytest.raises(PlatformUnsupported, match=_NOT_OURS) as caught:
                ask()
            assert "Remove it" in caught.value.remedy, caught.value
        path.unlink()
        assert service.up("tiny").outcome == "reused", "up does not find the host"

    return break_


def _settings_world_readable(service: Service) -> Timing:
    pid = service.host
    detect_s = end_by_guard(service, lambda: os.kill(pid, signal.SIGKILL))
    service.folder.desired_state.chmod(0o644)
    with pytest.raises(PlatformUnsupported, match=_NOT_OURS):
        service.up()
    assert not service.home.wait_no_processes(scaled(1.0)), (
        "something was started all the same"
    )
    service.folder.desired_state.chmod(0o600)
    return detect_s, up_again(service)


def _pid_reused(service: Service) -> Timing:
    host, guard, engine = service.host, service.guard, identify(service.engine)
    assert engine is not None
    for pid in (guard, host):
        os.kill(pid, signal.SIGKILL)
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as other:
        service.undo.callback(other.kill)
        reused = Identity(pid=other.pid, start="another boot:1")
        children = (
            Child(name="agent", identity=reused),
            Child(name="engine", identity=engine),
        )
        service.folder.write_record(DaemonRecord(host=reused, children=children))
        took_s = up_again(service)
        assert not engine.is_alive, "the engine of the dead host was not swept"
        assert other.poll() is None, "another program's process was ended"
        other.kill()
    return None, took_s


def _models_deleted(service: Service) -> None:
    folder = models_folder("", rehearsal=False)
    assert folder.is_relative_to(service.home.path), folder
    # In one step: the service may be writing to it.
    shutil.rmtree(folder.rename(folder.with_name("deleted")))


def _small_home(home: Home, undo: contextlib.ExitStack) -> None:
    tmpfs(home.path / "home", undo)


def _home_full(service: Service) -> None:
    filler = fill(service.home.path / "home")
    with pytest.raises(DiskTooSmall):
        service.up("other")
    assert service.avocado.models == ("tiny",), "a refused model is still wanted"
    filler.unlink()
    promises.whole_again(service, service.broken_at, WHOLE_S)
    service.mark()


def _home_read_only(service: Service) -> None:
    home = service.home.path / "home"
    read_only(home, service.undo)
    with pytest.raises(PlatformUnsupported, match="the models folder is read-only"):
        service.up("other")
    assert service.avocado.models == ("tiny",), "a refused model is still wanted"
    promises.whole_again(service, service.broken_at, WHOLE_S)
    service.mark()


def _needs_root() -> str:
    return "" if os.getuid() == 0 else "needs root, to give a file away"


def _row(name: str, expected: str, seen: str, **more: object) -> Fault:
    area = {"area": "disk", "bound_s": 20.0}
    return Fault(name=name, expected=expected, seen=seen, **area | more)  # type: ignore[arg-type]


ROWS = (
    _row(
        "record-truncated",
        "the host is found by its socket",
        "left alone; status, up and down find it",
        breaks=_record_truncated,
        keeps_all=True,
    ),
    _row(
        "record-of-another-version",
        "refused, up --restart restores",
        "shown “another version”, restarted with the same key",
        plays=_record_of_another_version,
    ),
    _row(
        "record-foreign-owned",
        "refused, with what to do",
        "shown “written or read by others”; removed, found again",
        breaks=_record_not_ours(lambda path: os.chown(path, _NOBODY, _NOBODY)),
        needs=_needs_root,
        keeps_all=True,
    ),
    _row(
        "record-world-readable",
        "refused, with what to do",
        "shown “written or read by others”; removed, found again",
        breaks=_record_not_ours(lambda path: path.chmod(0o644)),
        keeps_all=True,
    ),
    _row(
        "settings-world-readable",
        "refused before anything starts",
        "shown “written or read by others”; then restored by up",
        plays=_settings_world_readable,
    ),
    _row(
        "pid-reused",
        "another program's process is left alone",
        "swept, restored by up, the other process runs on",
        plays=_pid_reused,
    ),
    _row(
        "models-folder-deleted",
        "noticed, and pulled again",
        "pulled again",
        breaks=_models_deleted,
        part="models",
        engine=Engine.EITHER,
    ),
    _row(
        "home-disk-full",
        "another model is refused, the rest left alone",
        "shown DiskTooSmall, left alone",
        breaks=_home_full,
        prepares=_small_home,
        needs=why_no_mounts,
        keeps_all=True,
    ),
    _row(
        "home-read-only",
        "another model is refused, the rest left alone",
        "shown “the models folder is read-only”, left alone",
        breaks=_home_read_only,
        needs=why_no_mounts,
        keeps_all=True,
    ),
)
