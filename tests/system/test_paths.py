"""Where we run, and where files go."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from spicy_avocado_magic.errors import PlatformUnsupported, UsageError
from spicy_avocado_magic.system.paths import (
    cache_folder,
    engines_folder,
    home_folder,
    models_folder,
    owner_pid,
    private_folder,
    require_drive_mounted,
    require_posix,
    runtime_folder,
)
from spicy_avocado_magic.system.platforms import PLATFORMS


def test_windows_is_refused_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """One clear error in place of many odd ones."""
    require_posix()
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(PlatformUnsupported, match="WSL"):
        require_posix()


def mode_of(path: Path) -> int:
    """Return a path's permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_the_runtime_folder_is_ours_alone(tmp_path: Path) -> None:
    """It is made 0700 inside the platform's runtime folder."""
    folder = runtime_folder({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert folder.parent == tmp_path
    assert mode_of(folder) == 0o700


def test_without_a_runtime_folder_it_is_under_the_temp_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runtime folder that is not there does not stop anything."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = runtime_folder({"XDG_RUNTIME_DIR": str(tmp_path / "missing")})
    assert folder.parent == tmp_path
    assert str(os.getuid()) in folder.name


def test_a_folder_of_ours_that_is_open_is_closed(tmp_path: Path) -> None:
    """An odd umask does not leave keys readable."""
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    assert mode_of(private_folder(folder)) == 0o700


@pytest.mark.parametrize("trap", ["link", "dead link", "file"])
def test_a_trap_in_place_of_the_folder_is_refused(tmp_path: Path, trap: str) -> None:
    """In a shared temp folder anybody may have put something there first."""
    folder = tmp_path / "ours"
    if trap == "file":
        folder.touch()
    else:
        target = tmp_path / "target"
        if trap == "link":
            target.mkdir()
        folder.symlink_to(target)
    with pytest.raises(PlatformUnsupported, match="is not a folder of this user"):
        private_folder(folder)


def test_a_folder_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who owns the folder could read the keys."""
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    with pytest.raises(PlatformUnsupported):
        private_folder(tmp_path)


def test_a_rehearsal_has_folders_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It neither uses nor fills the real ones."""
    monkeypatch.setenv("OLLAMA_MODELS", "/models/real")
    assert cache_folder(rehearsal=True) != cache_folder(rehearsal=False)
    assert engines_folder(rehearsal=True).parent == cache_folder(rehearsal=True)
    assert models_folder("", rehearsal=True).is_relative_to(
        cache_folder(rehearsal=True)
    )
    assert models_folder("", rehearsal=False) == Path("/models/real")
    monkeypatch.delenv("OLLAMA_MODELS")
    assert models_folder("", rehearsal=False).parts[-2:] == (".ollama", "models")
    assert models_folder("/mine", rehearsal=True) == Path("/mine")


def test_a_home_that_cannot_be_written_has_a_stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Engine, its key and models go to a folder of ours under the temp folder."""
    home, temp = tmp_path / "home", tmp_path / "temp"
    for folder in (home, temp):
        folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(temp))
    assert home_folder() == home
    allowed = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: Path(path) != home and allowed(path, mode)
    )
    stand_in = home_folder()
    assert stand_in.parent == temp
    assert mode_of(stand_in) == 0o700, "others can read the engine's key"
    assert cache_folder(rehearsal=False).is_relative_to(stand_in)
    assert models_folder("", rehearsal=False).is_relative_to(stand_in)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_folder(rehearsal=False).is_relative_to(tmp_path / "cache"), "moved"


@pytest.fixture
def disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[Path, int]:
    """Return the free bytes of each folder's disk, to be filled in by a test."""
    free: dict[Path, int] = {}
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    usage = shutil.disk_usage("/")

    def disk_usage(path: Path) -> object:
        return usage._replace(free=free[path])

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    return free


@pytest.mark.parametrize(
    ("home_free", "scratch_free", "is_scratch"),
    [(10, 70, True), (70, 10, False), (70, 70, False)],
)
def test_models_go_to_the_platforms_larger_disk(
    tmp_path: Path,
    disks: dict[Path, int],
    home_free: int,
    scratch_free: int,
    is_scratch: bool,
) -> None:
    """Kaggle's scratch disk is used where it is larger, and only there."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    disks |= {tmp_path / "home": home_free, scratch: scratch_free}
    chosen = models_folder("", rehearsal=False, scratch=[str(scratch)])
    assert chosen.is_relative_to(scratch) == is_scratch


def test_a_models_folder_once_chosen_stays_the_one(
    tmp_path: Path, disks: dict[Path, int]
) -> None:
    """What was fetched is found again although it has filled its disk."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    disks |= {tmp_path / "home": 10, scratch: 70}
    chosen = models_folder("", rehearsal=False, scratch=[str(scratch)])
    disks[scratch] = 1
    assert models_folder("", rehearsal=False, scratch=[str(scratch)]) == chosen
    (tmp_path / "home" / ".ollama" / "models").mkdir(parents=True)
    assert models_folder("", rehearsal=False, scratch=[str(scratch)]) == chosen


def test_models_that_ollama_has_already_are_used_where_they_are(
    tmp_path: Path, disks: dict[Path, int]
) -> None:
    """A larger disk is no reason to fetch them again."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    disks |= {tmp_path / "home": 10, scratch: 70}
    usual = tmp_path / "home" / ".ollama" / "models"
    usual.mkdir(parents=True)
    assert models_folder("", rehearsal=False, scratch=[str(scratch)]) == usual


def test_a_scratch_folder_that_cannot_be_had_is_passed_over(
    tmp_path: Path, disks: dict[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row of the table makes a start fail."""
    disks |= {tmp_path / "home": 10, tmp_path: 70}
    missing = tmp_path / "missing" / "deep"
    home = tmp_path / "home"
    monkeypatch.setattr(
        os, "access", lambda path, mode: home in Path(path, "x").parents
    )
    chosen = models_folder("", rehearsal=False, scratch=[str(missing)])
    assert chosen.is_relative_to(tmp_path / "home")
    monkeypatch.setattr(os, "access", lambda path, mode: True)
    chosen = models_folder("", rehearsal=False, scratch=[str(missing)])
    assert chosen.is_relative_to(missing)
    assert chosen.is_dir()


def test_a_drive_that_is_not_mounted_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models would land on the local disk, and be gone with the session."""
    colab = replace(PLATFORMS[1], drive=str(tmp_path))
    with pytest.raises(UsageError, match="not mounted") as caught:
        require_drive_mounted(tmp_path / "MyDrive" / "models", colab)
    assert f"drive.mount('{tmp_path}')" in caught.value.remedy
    require_drive_mounted(tmp_path.parent / "elsewhere", colab)
    require_drive_mounted(tmp_path / "models", PLATFORMS[-1])
    monkeypatch.setattr(os.path, "ismount", lambda path: path == str(tmp_path))
    require_drive_mounted(tmp_path / "MyDrive" / "models", colab)


def test_the_owner_is_the_server_of_a_kernel_else_the_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A kernel restart does not end the host; the end of a script does."""
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    monkeypatch.setenv("JPY_PARENT_PID", "4242")
    assert owner_pid() == os.getpid()
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert owner_pid() == 4242
    monkeypatch.setenv("JPY_PARENT_PID", "")
    assert owner_pid() == os.getppid()
