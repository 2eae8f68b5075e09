"""A release archive shaped like the real one, as large as wanted."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import zstandard

from spicy_avocado_magic.rehearsal.fake_downloads.archive import engine_script

RATIO: Final = 3.5
"""What a release unpacks to, by its compressed size (4.25 GiB of 1.2 GB)."""

_BLOCK_BYTES: Final = 16 << 20
_WINDOW_LOG: Final = 23
"""Of 8 MiB, as releases have them since 0.32; the block does not repeat within."""
_PHRASES: Final = 4096
_FRESH: Final = 0.115
"""The part of a library that is like nothing before it; tuned to ``RATIO``."""
_MODIFIED_S: Final = 1_780_000_000

LIBRARIES: Final[dict[str, float | str]] = {
    "cuda_v12/libcublas.so.12.8.4.1": 0.09,
    "cuda_v12/libcublas.so.12": "libcublas.so.12.8.4.1",
    "cuda_v12/libcublasLt.so.12.8.4.1": 0.19,
    "cuda_v12/libcublasLt.so.12": "libcublasLt.so.12.8.4.1",
    "cuda_v12/libggml-cuda.so": 0.27,
    "cuda_v13/libcublasLt.so.13.1.0.3": 0.14,
    "cuda_v13/libcublasLt.so.13": "libcublasLt.so.13.1.0.3",
    "cuda_v13/libggml-cuda.so": 0.20,
    "libggml-base.so.0.0.0": 0.003,
    "libggml-base.so.0": "libggml-base.so.0.0.0",
    "libggml-base.so": "libggml-base.so.0",
    "libggml-cpu-haswell.so": 0.003,
    "libggml-cpu-skylakex.so": 0.003,
    "libggml-cpu-x64.so": 0.003,
    "libllama.so": 0.008,
    "llama-quantize": 0.01,
    "llama-server": 0.02,
    "vulkan/libggml-vulkan.so": 0.06,
}
"""Under ``lib/ollama``, in a release's order: where a link leads, or the share of
the libraries' bytes (``.github/workflows/release.yaml`` in ollama/ollama)."""


def write_archive(
    path: Path, *, compressed_bytes: int, version: str, engine: Path | None
) -> None:
    """Write ``.tar.zst`` of about ``compressed_bytes``; takes seconds.

    Args:
        path: Where it goes.
        compressed_bytes: Its size, within a tenth.
        version: What the stand-in engine reports.
        engine: A real ``bin/ollama`` beside a ``lib/ollama/llama-server``; None packs
            the stand-in.
    """
    program = engine.read_bytes() if engine else engine_script(version)
    runner = engine.parents[1] / "lib" / "ollama" / "llama-server" if engine else None
    libraries_bytes = max(0, int(compressed_bytes * RATIO) - len(program))
    filler = _Filler(library_block())
    parameters = zstandard.ZstdCompressionParameters.from_level(
        3, window_log=_WINDOW_LOG, write_checksum=True, threads=-1
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    with (
        path.open("wb") as file,
        compressor.stream_writer(file) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.GNU_FORMAT) as tar,
    ):
        _add(tar, "bin/ollama", program)
        folder = ""
        for name, subject in LIBRARIES.items():
            parent = name.rpartition("/")[0]
            if parent not in ("", folder):
                folder = parent
                _add(tar, f"lib/ollama/{folder}", None)
            full = f"lib/ollama/{name}"
            if isinstance(subject, str):
                _add(tar, full, subject)
            elif name == "llama-server" and runner is not None:
                _add(tar, full, runner.read_bytes())
            else:
                _add(tar, full, filler.take(int(libraries_bytes * subject)))


def library_block(size: int = _BLOCK_BYTES) -> bytes:
    """Return bytes that compress as libraries do: phrases again and again."""
    chance = random.Random(35)
    phrases = [chance.randbytes(chance.randrange(8, 25)) for _ in range(_PHRASES)]
    return b"".join(_words(chance, phrases, size))[:size]


def _words(chance: random.Random, phrases: list[bytes], size: int) -> Iterator[bytes]:
    while size > 0:
        is_fresh = chance.random() < _FRESH
        word = chance.randbytes(16) if is_fresh else chance.choice(phrases)
        size -= len(word)
        yield word


class _Filler:
    """Goes round and round in a block, so that no window sees a place twice."""

    def __init__(self, block: bytes) -> None:
        self._block = block
        self._at = 0

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        start = self._at
        self._at = (start + size) % len(self._block)
        times = (start + size) // len(self._block) + 1
        return (self._block * times)[start : start + size]


def _add(tar: tarfile.TarFile, name: str, content: bytes | str | None) -> None:
    """Add a file, a link, or (None) a folder."""
    member = tarfile.TarInfo(name)
    member.mode, member.mtime = 0o755, _MODIFIED_S
    member.uname = member.gname = "root"
    if isinstance(content, bytes):
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
        return
    member.type = tarfile.DIRTYPE if content is None else tarfile.SYMTYPE
    member.linkname = content or ""
    tar.addfile(member)
