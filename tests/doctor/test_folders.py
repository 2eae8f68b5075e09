"""Folders and disks that cannot be used are reported."""

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
    expected_models_folder,
    write_problem,
)
from spicy_avocado_magic.doctor.runner import Check, run_checks
from spicy_avocado_magic.protocol.finding import CheckStatus, Finding
from spicy_avocado_magic.protocol.state_folder import StateFolder
from spicy_avocado_magic.system.platforms import Platform

from .conftest import New

Disk = Callable[[str], Path]


def broken(found: Finding, word: str) -> None:
    """Assert that a finding is broken, contains a word and has a remedy."""
    assert found.verdict is CheckStatus.BROKEN, found
    assert word in found.what, found
    assert found.remedy, found


def test_writable_folders_are_fine(new_context: New) -> None:
    """An empty home is enough."""
    for check in (check_state_folder, check_home):
        assert check(new_context()).verdict is CheckStatus.OK, check


def test_a_full_disk_is_reported(
    new_context: New, small_disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be that of the state folder or of the home folder."""
    disk = small_disk("size=16k,mode=700")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(disk))
    context = new_context()
    (disk / "filler").write_bytes(b"x" * 16384)
    broken(check_state_folder(context), "full")
    monkeypatch.setenv("HOME", str(disk))
    broken(check_home(context), "full")


def test_a_disk_mounted_noexec_is_reported(
    new_context: New,
    small_disk: Disk,
    monkeypatch: pytest.MonkeyPatch,
    program: Callable[[str, str], Path],
) -> None:
    """The agent's script is in the state folder, the engine in the cache folder."""
    disk = small_disk("size=1m,mode=700,noexec")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(disk))
    broken(check_state_folder(new_context()), "noexec")
    monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
    broken(check_home(new_context()), "noexec")
    program("ollama", "exit 0")
    assert check_home(new_context()).verdict is CheckStatus.OK, (
        "an engine on PATH is used"
    )


def test_a_read_only_home_is_reported(
    new_context: New, small_disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder that is used instead may not last."""
    home = small_disk("size=1m,ro")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CACHE_HOME")
    found = check_home(new_context())
    assert found.verdict is CheckStatus.WARNING, found
    assert f"{home} cannot be written" in found.what
    assert tempfile.gettempdir() in found.what, (
        "the folder that is used instead is missing"
    )
    assert "HOME" in found.remedy


def test_a_state_folder_or_file_of_another_user_is_reported(
    new_context: New, home: Path
) -> None:
    """It may be a link, or a file that others could have written."""
    context = new_context()
    folder = StateFolder.find(rehearsal=False)
    folder.desired_state.write_text("{}")
    folder.desired_state.chmod(0o644)
    check = Check("state", check_state_folder)
    broken(run_checks(context, (check,))[0], "by others")
    folder.desired_state.unlink()
    folder.path.rmdir()
    folder.path.symlink_to(home)
    broken(run_checks(new_context(), (check,))[0], "not a folder of this user")


def test_a_path_too_long_for_a_socket_is_reported(
    new_context: New, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system limits the length of a socket's path."""
    deep = home / ("x" * 100)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    broken(check_state_folder(new_context()), "too long")


def test_free_space_is_compared_with_the_need(
    new_context: New, small_disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Disks of engines and models are checked, and the message has the bytes."""
    disk = small_disk("size=1m")
    monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
    broken(check_engines_disk(new_context()), "1.3 GB are needed")
    models = Settings(models_dir=str(disk / "models"))
    broken(check_models_disk(new_context(settings=models)), "1.0 GB are needed")
    assert not (disk / "models").exists(), "the check created a folder"
    usage = shutil.disk_usage(disk)._replace(free=3 * 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    for check in (check_engines_disk, check_models_disk):
        assert check(new_context()).verdict is CheckStatus.WARNING, check
    context = new_context(is_running=True)
    assert check_models_disk(context).verdict is CheckStatus.OK, (
        "its models are there already"
    )


def test_a_disk_without_free_inodes_is_reported(
    new_context: New, small_disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be free bytes all the same."""
    disk = small_disk("size=1m,nr_inodes=4")
    for number in range(3):
        (disk / str(number)).touch()
    usage = shutil.disk_usage(disk)._replace(free=9 * 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
    broken(check_engines_disk(new_context()), "no free inodes")


def test_an_installed_engine_needs_no_space(
    new_context: New, home: Path, program: Callable[[str, str], Path]
) -> None:
    """It may be on PATH or installed by us."""
    program("ollama", "exit 0")
    assert "Nothing to install" in check_engines_disk(new_context()).what


def test_a_drive_that_is_not_mounted_is_reported(new_context: New, home: Path) -> None:
    """The remedy is the line that mounts it."""
    platform = Platform(name="Google Colab", drive=str(home / "drive"))
    settings = Settings(models_dir=str(home / "drive" / "models"))
    context = new_context(platform=platform, settings=settings)
    found = run_checks(context, (Check("model disk", check_models_disk),))[0]
    broken(found, "not mounted")


def test_the_checked_disk_is_where_up_would_put_models(
    new_context: New, home: Path, small_disk: Disk
) -> None:
    """It is the one with the most free space, which stays unchanged."""
    disk = small_disk("size=1m")
    platform = Platform(name="Kaggle", scratch=(str(disk), "/nowhere"))
    assert (
        expected_models_folder(new_context(platform=platform)).parent.name == ".ollama"
    )
    assert not list(disk.iterdir()), "the check created a folder"
    (disk / "spicy-avocado-models").mkdir()
    chosen = expected_models_folder(new_context(platform=platform))
    assert chosen == disk / "spicy-avocado-models"


def test_a_folder_that_is_not_writable_is_reported(tmp_path: Path) -> None:
    """The reason is the text of the system's error."""
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        assert "cannot be written" in write_problem(tmp_path / "missing")
    else:
        assert "cannot be written" in write_problem(tmp_path)
