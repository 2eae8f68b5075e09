"""Folders and disks that cannot be used."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from spicy_avocado_magic.config.settings import Settings
from spicy_avocado_magic.doctor.folders import (
    check_engines_disk,
    check_home,
    check_models_disk,
    check_state_folder,
    models_place,
    unwritable,
)
from spicy_avocado_magic.doctor.runner import Check, run_checks
from spicy_avocado_magic.protocol.finding import CheckStatus, Finding
from spicy_avocado_magic.protocol.state_folder import StateFolder
from spicy_avocado_magic.system.platforms import Platform

from .conftest import New

Disk = Callable[[str], Path]


def broken(found: Finding, word: str) -> None:
    """Expect a broken finding with a word in it, and a remedy."""
    assert found.verdict is CheckStatus.BROKEN, found
    assert word in found.what, found
    assert found.remedy, found


def test_folders_that_can_be_used_are_good(new_case: New) -> None:
    """In a home that is empty."""
    for check in (check_state_folder, check_home):
        assert check(new_case()).verdict is CheckStatus.OK, check


def test_a_full_disk_is_told(
    new_case: New, small_disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the state folder and of home."""
    disk = small_disk("size=16k,mode=700")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(disk))
    case = new_case()
    (disk / "filler").write_bytes(b"x" * 16384)
    broken(check_state_folder(case), "full")
    monkeypatch.setenv("HOME", str(disk))
    broken(check_home(case), "full")


def test_a_disk_without_programs_is_told(
    new_case: New,
    small_disk: Disk,
    monkeypatch: pytest.MonkeyPatch,
    program: Callable[[str, str], Path],
) -> None:
    """The agent's script is in the state folder, the engine in the cache."""
    disk = small_disk("size=1m,mode=700,noexec")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(disk))
    broken(check_state_folder(new_case()), "no program")
    monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
    broken(check_home(new_case()), "no program")
    program("ollama", "exit 0")
    assert check_home(new_case()).verdict is CheckStatus.OK, "an engine on PATH is used"


def test_a_home_that_is_read_only_is_told(
    new_case: New, small_disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can be put there; what is used instead may be gone tomorrow."""
    home = small_disk("size=1m,ro")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CACHE_HOME")
    found = check_home(new_case())
    assert found.verdict is CheckStatus.WARNING, found
    assert f"{home} cannot be written" in found.what
    assert tempfile.gettempdir() in found.what, "where files go is not told"
    assert "HOME" in found.remedy


def test_a_state_folder_or_file_of_others_is_told(new_case: New, home: Path) -> None:
    """A link, and a record that others could have written."""
    case = new_case()
    folder = StateFolder.find(rehearsal=False)
    folder.desired_state.write_text("{}")
    folder.desired_state.chmod(0o644)
    check = Check(name="state", run=check_state_folder)
    broken(run_checks(case, (check,))[0], "by others")
    folder.desired_state.unlink()
    folder.path.rmdir()
    folder.path.symlink_to(home)
    broken(run_checks(new_case(), (check,))[0], "somebody else")


def test_a_state_folder_too_deep_for_a_socket_is_told(
    new_case: New, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system takes no longer path for one."""
    deep = home / ("x" * 100)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    broken(check_state_folder(new_case()), "too long")


def test_disks_are_measured_against_what_is_needed(
    new_case: New, small_disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of engines and of models, with the bytes."""
    disk = small_disk("size=1m")
    monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
    broken(check_engines_disk(new_case()), "1.3 GB are needed")
    models = Settings(models_dir=str(disk / "models"))
    broken(check_models_disk(new_case(settings=models)), "1.0 GB are needed")
    assert not (disk / "models").exists(), "an examination made a folder"
    usage = shutil.disk_usage(disk)._replace(free=3 * 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    for check in (check_engines_disk, check_models_disk):
        assert check(new_case()).verdict is CheckStatus.WARNING, check
    case = new_case(is_running=True)
    assert check_models_disk(case).verdict is CheckStatus.OK, (
        "its models are there already"
    )


def test_a_disk_without_room_for_files_is_told(
    new_case: New, small_disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes may be free all the same."""
    disk = small_disk("size=1m,nr_inodes=4")
    for number in range(3):
        (disk / str(number)).touch()
    usage = shutil.disk_usage(disk)._replace(free=9 * 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
    broken(check_engines_disk(new_case()), "no more files")


def test_an_engine_that_is_there_needs_no_room(
    new_case: New, home: Path, program: Callable[[str, str], Path]
) -> None:
    """On PATH, or installed before."""
    program("ollama", "exit 0")
    assert "Nothing to install" in check_engines_disk(new_case()).what


def test_a_drive_that_is_not_mounted_is_told(new_case: New, home: Path) -> None:
    """With the line that mounts it."""
    platform = Platform(name="Google Colab", drive=str(home / "drive"))
    settings = Settings(models_dir=str(home / "drive" / "models"))
    case = new_case(platform=platform, settings=settings)
    found = run_checks(case, (Check(name="model disk", run=check_models_disk),))[0]
    broken(found, "not mounted")


def test_models_are_looked_for_where_up_would_put_them(
    new_case: New, home: Path, small_disk: Disk
) -> None:
    """On the roomiest disk, which an examination leaves as it is."""
    disk = small_disk("size=1m")
    platform = Platform(name="Kaggle", scratch=(str(disk), "/nowhere"))
    assert models_place(new_case(platform=platform)).parent.name == ".ollama"
    assert not list(disk.iterdir()), "an examination made a folder"
    (disk / "spicy-avocado-models").mkdir()
    chosen = models_place(new_case(platform=platform))
    assert chosen == disk / "spicy-avocado-models"


def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    """Whatever the reason, it is in the words of the system."""
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        assert "cannot be written" in unwritable(tmp_path / "missing")
    else:
        assert "cannot be written" in unwritable(tmp_path)
