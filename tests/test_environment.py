"""Where we run, and where files go."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from spicy_avocado_magic.environment import (
    PLATFORMS,
    cache_folder,
    detect_platform,
    engines_folder,
    models_folder,
    owner_pid,
    private_folder,
    require_supported,
    runtime_folder,
)
from spicy_avocado_magic.errors import PlatformUnsupported


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"KAGGLE_KERNEL_RUN_TYPE": "Batch", "COLAB_GPU": "1"}, "Kaggle"),
        ({"COLAB_RELEASE_TAG": "x"}, "Google Colab"),
        ({"CODESPACES": "true"}, "Codespaces"),
        ({}, "this machine"),
    ],
)
def test_a_platform_is_told_by_its_marks(environ: dict[str, str], name: str) -> None:
    """Kaggle carries Colab's variables, so it is asked first."""
    assert detect_platform(environ).name == name


def test_the_last_platform_has_no_marks() -> None:
    """There is always a row that fits, and only one that fits always."""
    assert [bool(row.marks) for row in PLATFORMS] == [True] * 4 + [False]


def test_windows_is_refused_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """One clear error in place of many odd ones."""
    require_supported()
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(PlatformUnsupported, match="WSL"):
        require_supported()


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
    with pytest.raises(PlatformUnsupported, match="belongs to somebody else"):
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
