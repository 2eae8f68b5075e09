"""Whether something fits."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from spicy_avocado_magic.engine.disk import amount, disk_full, require_space
from spicy_avocado_magic.errors import DiskTooSmall


def test_the_message_names_folder_needed_and_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for a folder that is not there yet."""
    usage = shutil.disk_usage(tmp_path)._replace(free=1 << 30)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    folder = tmp_path / "not" / "yet"
    require_space(folder, 1 << 30)
    with pytest.raises(DiskTooSmall, match=r"yet needs 2\.0 GiB, but only 1\.0 GiB"):
        require_space(folder, 2 << 30)


def test_only_a_full_disk_is_one(tmp_path: Path) -> None:
    """Quotas count; other errors of the system do not."""
    assert disk_full(tmp_path, OSError(errno.ENOSPC, "")) is not None
    assert disk_full(tmp_path, OSError(errno.EDQUOT, "")) is not None
    assert disk_full(tmp_path, OSError(errno.EACCES, "")) is None


def test_sizes_are_readable() -> None:
    """Small ones in MiB, large ones in GiB."""
    assert amount(1 << 19) == "0.5 MiB"
    assert amount(3 << 29) == "1.5 GiB"
