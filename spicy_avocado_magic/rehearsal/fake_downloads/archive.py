"""A stand-in for Ollama's release archive: the same layout, with small files.

The order of members is that of ``.github/workflows/release.yaml`` in
github.com/ollama/ollama; ``bin/ollama`` is a script that runs the stand-in engine.
"""

from __future__ import annotations

import gzip
import io
import os
import random
import shlex
import sys
import tarfile
from pathlib import Path
from typing import Final

import zstandard

from ...system import IMPORT_ROOT

VERSION_VARIABLE: Final = "AVOCADO_REHEARSAL_VERSION"
_LIBRARY_BYTES: Final = 64 * 1024
_LEVEL: Final = 3
_MODIFIED_S: Final = 1_780_000_000
# A string is a symlink's target, None a folder, a number a file's size in bytes.
_LIBRARIES: Final[dict[str, str | int | None]] = {
    "cuda_v12": None,
    "cuda_v12/libcublas.so.12.8.4.1": 4 * _LIBRARY_BYTES,
    "cuda_v12/libcublas.so.12": "libcublas.so.12.8.4.1",
    "cuda_v12/libcudart.so.12": "libcudart.so.12.8.90",
    "cuda_v12/libcudart.so.12.8.90": _LIBRARY_BYTES,
    "cuda_v12/libggml-cuda.so": 4 * _LIBRARY_BYTES,
    "cuda_v13": None,
    "cuda_v13/libcudart.so.13": "libcudart.so.13.0.96",
    "cuda_v13/libcudart.so.13.0.96": _LIBRARY_BYTES,
    "cuda_v13/libggml-cuda.so": 4 * _LIBRARY_BYTES,
    "libggml-base.so": "libggml-base.so.0",
    "libggml-base.so.0": "libggml-base.so.0.0.0",
    "libggml-base.so.0.0.0": _LIBRARY_BYTES,
    "libggml-cpu-haswell.so": _LIBRARY_BYTES,
    "libggml-cpu-x64.so": _LIBRARY_BYTES,
    "llama-quantize": _LIBRARY_BYTES,
    "llama-server": _LIBRARY_BYTES,
    "vulkan": None,
    "vulkan/libggml-vulkan.so": 2 * _LIBRARY_BYTES,
}


def build_archive(version: str, name: str, engine_tree: Path | None = None) -> bytes:
    """Return the archive of a release with this file name.

    Args:
        version: ``X.Y.Z``, which its engine reports.
        name: Its suffix decides the compression; the one for macOS has no folders.
        engine_tree: A folder with ``bin`` and, if the build has libraries, ``lib``,
            packed instead of the stand-in.
    """
    is_flat = "darwin" in name
    unpacked = io.BytesIO()
    with tarfile.open(fileobj=unpacked, mode="w", format=tarfile.GNU_FORMAT) as tar:
        if engine_tree is None:
            _pack_stand_in(tar, version, is_flat=is_flat)
        else:
            _pack_tree(tar, engine_tree, is_flat=is_flat)
    if name.endswith(".zst"):
        return zstandard.ZstdCompressor(level=_LEVEL).compress(unpacked.getvalue())
    return gzip.compress(unpacked.getvalue(), compresslevel=1, mtime=_MODIFIED_S)


def _pack_stand_in(tar: tarfile.TarFile, version: str, *, is_flat: bool) -> None:
    generator = random.Random(version)
    prefix = "" if is_flat else "lib/ollama/"
    script = engine_script(version)
    _add(tar, _member("ollama" if is_flat else "bin/ollama", 0o755), script)
    for name, content in _LIBRARIES.items():
        member = _member(prefix + name, 0o755)
        if content is None:
            member.type = tarfile.DIRTYPE
            _add(tar, member, b"")
        elif isinstance(content, str):
            member.type, member.linkname = tarfile.SYMTYPE, content
            _add(tar, member, b"")
        else:
            _add(tar, member, generator.randbytes(content))


def engine_script(version: str) -> bytes:
    """Return a script that runs the stand-in engine of this package."""
    paths = [str(IMPORT_ROOT), os.environ.get("PYTHONPATH", "")]
    searched = shlex.quote(os.pathsep.join(filter(None, paths)))
    return (
        "#!/bin/sh\n"
        "# A stand-in for Ollama, from a rehearsal of Spicy Avocado.\n"
        f"export PYTHONPATH={searched}\n"
        f"export {VERSION_VARIABLE}={shlex.quote(version)}\n"
        f"exec {shlex.quote(sys.executable)} -P -m "
        'spicy_avocado_magic.rehearsal.fake_ollama.cli "$@"\n'
    ).encode()


def _pack_tree(tar: tarfile.TarFile, tree: Path, *, is_flat: bool) -> None:
    libraries = sorted((tree / "lib" / "ollama").glob("*"))
    for path in (tree / "bin" / "ollama", *libraries):
        name = path.name if is_flat else path.relative_to(tree).as_posix()
        tar.add(path, name, filter=_owned_by_root)


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def _member(name: str, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mode, member.mtime = mode, _MODIFIED_S
    return _owned_by_root(member)


def _add(tar: tarfile.TarFile, member: tarfile.TarInfo, content: bytes) -> None:
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
