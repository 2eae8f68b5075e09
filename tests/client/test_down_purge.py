"""Files that ``--purge`` removes, and files that it keeps."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from spicy_avocado_magic.client.api import down
from spicy_avocado_magic.client.down import PurgeResult, purge
from spicy_avocado_magic.errors import UserActionRequired
from spicy_avocado_magic.system.paths import (
    ENGINES_LOCK,
    cache_folder,
    engines_folder,
    models_folder,
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a test folders of its own."""
    for name, folder in (("XDG_CACHE_HOME", "cache"), ("XDG_RUNTIME_DIR", "run")):
        (tmp_path / folder).mkdir(mode=0o700)
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    monkeypatch.delenv("AVOCADO_REHEARSE", raising=False)
    return cache_folder(rehearsal=False)


def installed(name: str, *, rehearsal: bool = False) -> Path:
    """Put a release there, of 1000 bytes."""
    program = engines_folder(rehearsal=rehearsal) / name / "bin" / "ollama"
    program.parent.mkdir(parents=True)
    program.write_bytes(bytes(900))
    (program.parent / "lib").write_bytes(bytes(100))
    os.link(program, program.parent / "hard")
    (program.parent / "soft").symlink_to("ollama")
    return program


def test_releases_and_partial_downloads_are_removed() -> None:
    """Freed bytes count hard links once; the folder is removed, too."""
    installed("0.34.1-cuda_v12")
    installed("0.24.0-cpu")
    folder = engines_folder(rehearsal=False)
    (folder / "0.35.0-ollama.tar.zst.part").write_bytes(bytes(5000))
    (folder / ".unpacking-x").mkdir()
    (folder / ENGINES_LOCK).touch()
    purged = purge(rehearsal=False)
    links = 2 * len("ollama")
    assert purged.releases == ("0.24.0-cpu", "0.34.1-cuda_v12")
    assert purged.freed_bytes == 2 * 1000 + 5000 + links
    assert not folder.exists()


def test_nothing_installed_is_no_error() -> None:
    """A second purge frees nothing."""
    assert purge(rehearsal=False) == PurgeResult()


def test_models_and_other_engines_are_kept() -> None:
    """Only releases that this package installed are removed."""
    installed("0.34.1-cpu")
    kept = [
        models_folder("", rehearsal=False) / "blobs" / "sha256-1",
        models_folder("", rehearsal=True) / "blobs" / "sha256-1",
        Path.home() / ".local" / "bin" / "ollama",
        cache_folder(rehearsal=False) / "else",
    ]
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    purge(rehearsal=False)
    purge(rehearsal=True)
    assert [path for path in kept if not path.exists()] == []


def test_the_target_of_a_link_is_kept(tmp_path: Path) -> None:
    """The link itself is removed."""
    precious = tmp_path / "precious" / "file"
    precious.parent.mkdir()
    precious.touch()
    installed("0.34.1-cpu")
    (engines_folder(rehearsal=False) / "link").symlink_to(precious.parent)
    purge(rehearsal=False)
    assert precious.exists()
    assert not engines_folder(rehearsal=False).exists()


@pytest.mark.parametrize("rehearse", [True, False])
def test_releases_of_rehearsals_are_removed_separately(*, rehearse: bool) -> None:
    """A purge never removes both kinds."""
    programs = {
        rehearsal: installed("0.34.1-cpu", rehearsal=rehearsal)
        for rehearsal in (True, False)
    }
    (result,) = down(rehearse=rehearse, purge=True)
    assert result.purged is not None
    assert result.purged.releases == ("0.34.1-cpu",)
    assert result.rehearsal is rehearse
    assert not programs[rehearse].exists()
    assert programs[not rehearse].exists(), "the other one is gone"


def test_without_purge_releases_are_kept() -> None:
    """The next start reuses them."""
    program = installed("0.34.1-cpu")
    assert down() == ()
    assert program.exists()


def test_a_release_is_not_removed_during_its_installation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The installer holds the lock; the error says to wait."""
    monkeypatch.setattr("spicy_avocado_magic.client.down._LOCK_WAIT_S", 0.0)
    program = installed("0.34.1-cpu")
    with (engines_folder(rehearsal=False) / ENGINES_LOCK).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserActionRequired, match="is installing"):
            purge(rehearsal=False)
    assert program.exists()
