"""The scaled release archive has the shape of the real one."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
import zstandard

from .arrival_archive import RATIO, write_archive

WANTED_BYTES = 12_000_000


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a small one, with the stand-in engine."""
    path = tmp_path_factory.mktemp("archive") / "ollama.tar.zst"
    write_archive(path, compressed_bytes=WANTED_BYTES, version="0.34.1", engine=None)
    return path


def plain_of(archive: Path) -> bytes:
    """Return the tar inside."""
    return zstandard.ZstdDecompressor().decompressobj().decompress(archive.read_bytes())


def test_it_is_as_large_and_as_compressible_as_wanted(archive: Path) -> None:
    """Its size is the one asked for, and 3.5 : 1 comes out of it."""
    size = archive.stat().st_size
    assert size == pytest.approx(WANTED_BYTES, rel=0.05)
    assert len(plain_of(archive)) / size == pytest.approx(RATIO, rel=0.05)


def test_its_window_is_the_real_one(archive: Path) -> None:
    """8 MiB, so that decompressing takes the memory that a release takes."""
    parameters = zstandard.get_frame_parameters(archive.read_bytes()[:64])
    assert parameters.window_size == 8 << 20


def test_its_members_come_in_a_release_s_order(archive: Path) -> None:
    """The server first, both CUDA folders, libraries and runner, Vulkan last."""
    with tarfile.open(fileobj=io.BytesIO(plain_of(archive))) as tar:
        members = tar.getmembers()
    names = [member.name for member in members]
    marks = ["bin/ollama", "cuda_v12/", "cuda_v13/", "libggml-base", "llama-server"]
    places = [
        next(at for at, name in enumerate(names) if mark in name)
        for mark in [*marks, "vulkan/"]
    ]
    assert places == sorted(places), names
    assert names[0] == "bin/ollama"
    links = [member for member in members if member.issym()]
    assert links, "a release has links"
    for link in links:
        folder = link.name.rpartition("/")[0]
        assert f"{folder}/{link.linkname}" in names, f"{link.name} leads nowhere"


def test_a_real_engine_is_packed_with_its_runner(tmp_path: Path) -> None:
    """What is beside the program given is what the archive starts."""
    for name in ("bin/ollama", "lib/ollama/llama-server"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(f"real {name}")
    path = tmp_path / "ollama.tar.zst"
    engine = tmp_path / "bin" / "ollama"
    write_archive(path, compressed_bytes=1_000_000, version="0.34.1", engine=engine)
    with tarfile.open(fileobj=io.BytesIO(plain_of(path))) as tar:
        for name in ("bin/ollama", "lib/ollama/llama-server"):
            member = tar.extractfile(name)
            assert member is not None
            assert member.read() == f"real {name}".encode()
