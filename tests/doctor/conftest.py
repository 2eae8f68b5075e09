"""A context for checks, in folders of its own."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spicy_avocado_magic.doctor.context import (
    DoctorContext,
    DoctorRequest,
    load_context,
)
from spicy_avocado_magic.system.platforms import PLATFORMS

VARIABLES = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("http_proxy", "https_proxy", "no_proxy", "all_proxy"),
    *("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"),
    *(name for row in PLATFORMS for name in row.variables),
    *("OLLAMA_MODELS", "PYNGROK_NGROK_PATH"),
    *("NGROK_AUTHTOKEN", "NGROK_API_KEY", "CUDA_VISIBLE_DEVICES"),
)
New = Callable[..., DoctorContext]


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Isolate a test from variables, folders and programs of this machine."""
    # Not under pytest's folder: a Unix socket's path may have 104 bytes at most.
    path = Path(tempfile.mkdtemp(prefix="avo-", dir="/tmp"))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name in ("run", "cache", "home", "bin"):
        (path / name).mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path / "run"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(path / "cache"))
    monkeypatch.setenv("HOME", str(path / "home"))
    monkeypatch.setenv("PATH", str(path / "bin"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def new_context() -> New:
    """Return a maker of contexts: loaded, then with the given parts replaced."""

    def make(**parts: Any) -> DoctorContext:
        context = load_context(DoctorRequest(rehearse=parts.get("rehearsal", False)))
        return dataclasses.replace(context, **parts)

    return make


@pytest.fixture
def program(home: Path) -> Callable[[str, str], Path]:
    """Return a maker of shell scripts on PATH."""

    def make(name: str, script: str) -> Path:
        path = home / "bin" / name
        path.write_text(f"#!/bin/sh\n# A stand-in.\n{script}\n")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a maker of small disks with mount options; needs root."""
    mounted: list[Path] = []
    places = "/usr/bin:/bin:/sbin:/usr/sbin"

    def make(options: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        mount = str(shutil.which("mount", path=places))
        command = [mount, "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if sys.platform != "linux" or subprocess.run(command, check=False).returncode:
            pytest.skip("a small disk can be mounted by root on Linux only")
        mounted.append(folder)
        return folder

    yield make
    umount = str(shutil.which("umount", path=places))
    for folder in mounted:
        subprocess.run([umount, "-l", str(folder)], check=True)
