"""The state folder: private files, atomic replacement, removal."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from spicy_avocado_magic.errors import PlatformUnsupported
from spicy_avocado_magic.protocol.state_folder import (
    Child,
    DaemonRecord,
    StateFolder,
    read_private,
    write_private,
)
from spicy_avocado_magic.system.processes import Identity

ME = Identity(pid=7, start="boot:1")


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    """A state folder."""
    return StateFolder(tmp_path)


def test_a_rehearsal_and_a_host_do_not_share_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rehearsal never touches a real host."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    real, rehearsal = (StateFolder.find(rehearsal=r) for r in (False, True))
    assert real.path != rehearsal.path
    assert real == StateFolder.find(rehearsal=False)
    assert stat.S_IMODE(real.path.stat().st_mode) == 0o700


def test_a_record_is_read_as_it_was_written(folder: StateFolder) -> None:
    """A kernel finds host and children."""
    record = DaemonRecord(
        host=ME, version="1", children=(Child(name="e", identity=ME),)
    )
    folder.write_record(record)
    assert folder.read_record() == record


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"host": 3}', "null"])
def test_a_damaged_record_is_none(folder: StateFolder, text: str) -> None:
    """A file cut short by a full disk does not stop the next ``up``."""
    write_private(folder.record_path, text)
    assert folder.read_record() is None


def test_a_missing_record_is_none(folder: StateFolder) -> None:
    """No host was here."""
    assert folder.read_record() is None


def test_a_record_in_bytes_that_are_no_text_is_none(folder: StateFolder) -> None:
    """Rubbish is not read as anything."""
    write_private(folder.record_path, "")
    folder.record_path.write_bytes(b"\xff\xfe")
    assert folder.read_record() is None


@pytest.mark.parametrize("mode", [0o644, 0o620, 0o602])
def test_a_file_open_to_others_is_not_trusted(folder: StateFolder, mode: int) -> None:
    """Another user who could write it could choose the processes that we end."""
    folder.write_record(DaemonRecord(host=ME))
    folder.record_path.chmod(mode)
    with pytest.raises(PlatformUnsupported):
        folder.read_record()


def test_a_link_is_not_followed(folder: StateFolder, tmp_path: Path) -> None:
    """A link in place of the file leads nowhere."""
    write_private(tmp_path / "other", "text")
    folder.desired_state.symlink_to(tmp_path / "other")
    assert read_private(folder.desired_state) is None


def test_a_private_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    """It is 0600 from its first byte, and nothing is left beside it."""
    path = tmp_path / "secret"
    old = os.umask(0)
    try:
        write_private(path, "one")
        inode = path.stat().st_ino
        write_private(path, "two")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_ino != inode
    assert read_private(path) == "two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    """Half a record is never seen."""
    path = tmp_path / "secret"
    write_private(path, "one")
    with pytest.raises(UnicodeEncodeError):
        write_private(path, "\ud800")
    assert read_private(path) == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_all_is_removed_but_the_lock_and_what_is_kept(folder: StateFolder) -> None:
    """``down`` leaves nothing, secrets least of all."""
    kept = (folder.log("host"),)
    for path in (folder.lock, folder.record_path, *folder.secrets, *kept):
        write_private(path, "x")
    assert folder.logs == kept
    folder.remove(keep=kept)
    assert set(folder.path.iterdir()) == {folder.lock, *kept}
    folder.remove()
    assert set(folder.path.iterdir()) == {folder.lock}


def test_the_files_of_a_killed_daemon_are_listed(folder: StateFolder) -> None:
    """Settings, token and use; each text with a secret can be put back."""
    write_private(folder.desired_state, "keys")
    write_private(folder.usage, "counts")
    assert folder.read_secrets() == {folder.desired_state: "keys"}
    folder.remove(keep=folder.restart_files)
    assert set(folder.path.iterdir()) == {folder.desired_state, folder.usage}
