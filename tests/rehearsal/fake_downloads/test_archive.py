"""The archive unpacks with the standard library and holds a working engine."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
import zstandard

from spicy_avocado_magic.rehearsal.fake_downloads.archive import (
    build_archive,
    engine_script,
)

LINUX = "ollama-linux-amd64.tar.zst"


def _unpack(archive: bytes, folder: Path) -> list[str]:
    document = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(archive)).read()
    with tarfile.open(fileobj=io.BytesIO(document)) as tar:
        tar.extractall(folder, filter="data")
        return tar.getnames()


def test_members_come_in_the_order_of_a_real_release(tmp_path: Path) -> None:
    """The program is first, both CUDA folders before the CPU's libraries."""
    names = _unpack(build_archive("0.34.1", LINUX), tmp_path)
    tops = list(dict.fromkeys("/".join(name.split("/")[:3]) for name in names))
    places = [
        tops.index(name)
        for name in (
            "bin/ollama",
            "lib/ollama/cuda_v12",
            "lib/ollama/cuda_v13",
            "lib/ollama/libggml-base.so",
            "lib/ollama/llama-server",
            "lib/ollama/vulkan",
        )
    ]
    assert places == sorted(places), f"unlike a release: {tops}"
    link = tmp_path / "lib/ollama/libggml-base.so"
    assert link.is_symlink(), "libraries of a release are chains of symlinks"
    assert link.resolve().is_file(), "a symlink leads nowhere"


def test_its_program_runs_and_knows_its_version(tmp_path: Path) -> None:
    """What was unpacked starts from any folder, without our package installed."""
    _unpack(build_archive("0.20.5", LINUX), tmp_path)
    response = subprocess.run(
        [tmp_path / "bin" / "ollama", "--version"],
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert response.stdout == "ollama version is 0.20.5\n"


def test_a_python_path_with_odd_characters_is_quoted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A folder's name is never read as shell."""
    monkeypatch.setenv("PYTHONPATH", "/a b;c")
    assert b"/a b;c'\n" in engine_script("0.34.1")


def test_a_release_for_macos_has_no_folders() -> None:
    """Its program is at the top, in a gzip."""
    archive = build_archive("0.34.1", "ollama-darwin.tgz")
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        assert tar.getnames()[0] == "ollama"


def test_a_tree_of_a_real_engine_is_packed_as_it_is(tmp_path: Path) -> None:
    """The program comes first and symlinks stay symlinks."""
    tree, unpacked = tmp_path / "tree", tmp_path / "unpacked"
    libraries = tree / "lib" / "ollama"
    libraries.mkdir(parents=True)
    (tree / "bin").mkdir()
    (tree / "bin" / "ollama").write_bytes(b"program")
    (libraries / "liba.so.1").write_bytes(b"library")
    (libraries / "liba.so").symlink_to("liba.so.1")
    names = _unpack(build_archive("0.34.1", LINUX, tree), unpacked)
    assert names == ["bin/ollama", "lib/ollama/liba.so", "lib/ollama/liba.so.1"]
    assert (unpacked / "lib/ollama/liba.so").readlink() == Path("liba.so.1")
