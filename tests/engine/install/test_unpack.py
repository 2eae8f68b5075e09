"""Archives are unpacked completely or not at all, and never outside the folder."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from spicy_avocado_magic.engine.download.partial_file import (
    ChecksumError,
    PartialFileClosed,
)
from spicy_avocado_magic.engine.install.unpack import unpack
from spicy_avocado_magic.errors import DiskTooSmall, DownloadFailed

Entry = tuple[tarfile.TarInfo, bytes]


def member(name: str, content: bytes = b"", **attributes: object) -> Entry:
    """Return one member of an archive."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, content


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> Entry:
    """Return a link."""
    return member(name, type=kind, linkname=target)


def accept() -> None:
    """Accept any archive."""


def unpack_file(
    archive: Path, destination: Path, verify: Callable[[], None] = accept, **more: Any
) -> None:
    """Unpack a complete file."""
    with archive.open("rb") as source:
        unpack(source, archive.name, destination, verify=verify, **more)


def tar_of(*entries: Entry) -> bytes:
    """Return an uncompressed archive."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return archive.getvalue()


@pytest.fixture
def pack(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that makes a ``.tar.zst``."""

    def make(*entries: Entry) -> Path:
        path = tmp_path / "evil.tar.zst"
        path.write_bytes(zstandard.compress(tar_of(*entries)))
        return path

    return make


GOOD = (
    member("./bin/ollama", b"program", mode=0o755),
    member("lib/ollama/libx.so.1.2", b"library", mode=0o644),
    link("lib/ollama/libx.so", "libx.so.1.2"),
    link("lib/libx", "../lib/ollama/libx.so"),
    link("lib/hard", "lib/ollama/libx.so.1.2", tarfile.LNKTYPE),
)


@pytest.mark.parametrize("ending", ["tar.zst", "tgz"])
def test_a_release_is_unpacked_with_modes_and_links(
    tmp_path: Path, ending: str
) -> None:
    """Both kinds of archives give files that can be run and links that lead."""
    archive, home = tmp_path / f"a.{ending}", tmp_path / "deep" / "home"
    compress = zstandard.compress if ending == "tar.zst" else gzip.compress
    archive.write_bytes(compress(tar_of(*GOOD)))
    unpack_file(archive, home)
    assert (home / "bin/ollama").stat().st_mode & 0o111, "not executable"
    assert (home / "lib/ollama/libx.so").read_bytes() == b"library"
    assert (home / "lib/libx").read_bytes() == b"library"
    assert (home / "lib/hard").read_bytes() == b"library"
    assert [path.name for path in home.parent.iterdir()] == ["home"], "a rest is left"


def test_a_window_of_old_releases_is_read(tmp_path: Path) -> None:
    """A zstd frame with a window of 128 MiB is accepted."""
    parameters = zstandard.ZstdCompressionParameters(
        window_log=27, chain_log=6, hash_log=6
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    packed = compressor.compressobj().compress(b"")
    stream = compressor.compressobj()
    packed = stream.compress(tar_of(*GOOD)) + stream.flush()
    assert zstandard.get_frame_parameters(packed).window_size == 1 << 27
    (tmp_path / "a.tar.zst").write_bytes(packed)
    unpack_file(tmp_path / "a.tar.zst", tmp_path / "home")
    assert (tmp_path / "home/bin/ollama").exists()


def test_only_what_is_wanted_is_kept(tmp_path: Path, pack: Callable[..., Path]) -> None:
    """A member that ``keep`` turns away is not written."""
    unpack_file(pack(*GOOD), tmp_path / "home", keep=lambda path: path == "bin/ollama")
    files = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert files == [tmp_path / "home/bin/ollama"]


EVIL = {
    "absolute": [member("/tmp/evil", b"x")],
    "upwards": [member("lib/../../evil", b"x")],
    "backslash": [member("lib\\..\\evil", b"x")],
    "absolute link": [link("lib/evil", "/etc/passwd")],
    "leaving link": [link("lib/evil", "../../outside")],
    "link through a link": [link("lib/a", "."), link("lib/b", "a/../../outside")],
    "write through a link": [
        member("lib/b", type=tarfile.DIRTYPE),
        link("lib/a", "b"),
        member("lib/a/evil", b"x"),
    ],
    "link twice": [link("lib/a", "b"), link("lib/a", "c")],
    "write over a link": [link("lib/a", "b"), member("lib/a", b"x")],
    "hard link outside": [link("lib/a", "../evil", tarfile.LNKTYPE)],
    "hard link to nothing": [link("lib/a", "etc/passwd", tarfile.LNKTYPE)],
    "hard link to a link": [link("a", "b"), link("c", "a", tarfile.LNKTYPE)],
    "twice": [member("bin/ollama", b"x"), member("./bin/ollama", b"y")],
    "device": [member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)],
    "pipe": [member("pipe", type=tarfile.FIFOTYPE)],
    "setuid": [member("bin/ollama", b"x", mode=0o4755)],
    "setgid": [member("bin", type=tarfile.DIRTYPE, mode=0o2755)],
    "file as folder": [member("bin", b"x"), member("bin/ollama", b"y")],
    "folder as file": [member("bin", b"x"), member("bin", type=tarfile.DIRTYPE)],
}


@pytest.mark.parametrize("kind", EVIL)
def test_evil_members_are_refused(
    tmp_path: Path, pack: Callable[..., Path], kind: str
) -> None:
    """One bad member refuses the archive, and nothing of it is left."""
    home = tmp_path / "in" / "home"
    collides = kind in {"twice", "file as folder", "folder as file"}
    with pytest.raises(DownloadFailed, match="damaged" if collides else "refused"):
        unpack_file(pack(*EVIL[kind]), home)
    assert list(home.parent.iterdir()) == [], "something of a bad archive is left"
    assert not (tmp_path / "evil").exists(), "it wrote outside"


def test_a_bomb_is_refused(tmp_path: Path, pack: Callable[..., Path]) -> None:
    """More bytes than a release can have are refused over all members together."""
    entries = [member(f"f{i}", bytes(1000)) for i in range(3)]
    with pytest.raises(DownloadFailed, match="larger than any release"):
        unpack_file(pack(*entries), tmp_path / "home", max_bytes=2500)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("ending", ["tar.zst", "tgz"])
def test_a_truncated_archive_leaves_nothing(tmp_path: Path, ending: str) -> None:
    """Half an archive gives an error and no folder."""
    archive, home = tmp_path / f"a.{ending}", tmp_path / "in" / "home"
    compress = zstandard.compress if ending == "tar.zst" else gzip.compress
    packed = compress(tar_of(member("big", bytes(range(256)) * 4000)))
    archive.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DownloadFailed, match="damaged or cut short"):
        unpack_file(archive, home)
    assert list(home.parent.iterdir()) == []


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 1 << 18, (1 << 18) + 1])
def test_sizes_around_blocks_and_buffers_come_out_whole(
    tmp_path: Path, pack: Callable[..., Path], size: int
) -> None:
    """A file's last byte and the next file's first are where they belong."""
    first, second = bytes(range(1, 252)) * (size // 251 + 1), b"next" * 1000
    entries = [member("a", first[:size]), member("b", second), member("c", b"end")]
    unpack_file(pack(*entries), tmp_path / "home", keep=lambda path: path != "b")
    assert (tmp_path / "home/a").read_bytes() == first[:size]
    assert (tmp_path / "home/c").read_bytes() == b"end"
    unpack_file(pack(*entries), tmp_path / "whole")
    assert (tmp_path / "whole/b").read_bytes() == second


def test_long_names_are_read(tmp_path: Path, pack: Callable[..., Path]) -> None:
    """Names that need a header of their own are no trouble."""
    name = "lib/" + "x" * 120 + "/" + "y" * 120
    unpack_file(pack(member(name, b"deep")), tmp_path / "home")
    assert (tmp_path / "home" / name).read_bytes() == b"deep"


def test_nothing_is_there_before_the_archive_is_verified(
    tmp_path: Path, pack: Callable[..., Path]
) -> None:
    """What is not the published archive never appears, however well it unpacks."""
    home = tmp_path / "in" / "home"

    def refuse() -> None:
        assert not home.exists(), "it could be run before it was verified"
        raise ChecksumError

    with pytest.raises(ChecksumError):
        unpack_file(pack(*GOOD), home, refuse)
    assert list(home.parent.iterdir()) == []


def test_the_whole_source_is_read(tmp_path: Path, pack: Callable[..., Path]) -> None:
    """A digest is of all bytes, also of those behind the last member."""
    archive = pack(*GOOD)
    more = zstandard.compress(random.Random(1).randbytes(1 << 20))
    archive.write_bytes(archive.read_bytes() + more)
    with archive.open("rb") as source:
        unpack(source, archive.name, tmp_path / "home", verify=accept)
        assert source.read() == b""


def test_a_source_that_breaks_leaves_nothing(
    tmp_path: Path, pack: Callable[..., Path]
) -> None:
    """What the source raises goes to the caller, and what was unpacked goes away."""
    home = tmp_path / "in" / "home"

    class Broken:
        def __init__(self, content: bytes) -> None:
            self.content = content

        def read(self, _size: int) -> bytes:
            content, self.content = self.content, b""
            if not content:
                raise PartialFileClosed
            return content

    entries = [member("a", b"x"), member("b", random.Random(1).randbytes(1 << 20))]
    packed = pack(*entries).read_bytes()
    with pytest.raises(PartialFileClosed):
        unpack(Broken(packed[:-1000]), "a.tar.zst", home, verify=accept)
    assert list(home.parent.iterdir()) == []


def test_a_full_disk_while_unpacking_is_an_error(
    tmp_path: Path, pack: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No space while unpacking is an error of the disk, not of the archive."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "symlink_to", full)
    with pytest.raises(DiskTooSmall, match="is full"):
        unpack_file(pack(*GOOD), tmp_path / "home")
