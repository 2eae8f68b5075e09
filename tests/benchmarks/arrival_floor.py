"""Floors: what no program can go below, by arithmetic or measured bare."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final
from urllib.request import ProxyHandler, Request, build_opener

from tests.main_job.home import Home

from .arrival_home import variables
from .throttle import Shape

_BARE: Final = build_opener(ProxyHandler({}))
_LONGEST_S: Final = 120.0
_POLL_S: Final = 0.01
_PIPELINE: Final = (
    'curl -fsSL "$1" | tee >(sha256sum >/dev/null) | zstd -dq | tar -x -C "$2"'
)


def link_floor_s(shape: Shape, needed_bytes: int) -> float:
    """Seconds in which a link's total rate carries what must come.

    Raises:
        ValueError: If the link has no total rate.
    """
    if not shape.total_bytes_s:
        raise ValueError("an unthrottled link has no rate: measure it")
    return needed_bytes / shape.total_bytes_s


def measured_floor_s(urls: list[str]) -> float:
    """Seconds in which curl fetches all, side by side, and throws them away."""
    began = time.monotonic()
    command = ["curl", "-fsSL", "-o", os.devnull]
    running = [subprocess.Popen([*command, url]) for url in urls]
    if any(process.wait(_LONGEST_S) for process in running):
        raise RuntimeError("curl could not fetch what the link offers")
    return time.monotonic() - began


def bare_start_s(executable: Path, home: Home, model: str, port: int) -> float:
    """Seconds from starting the engine by itself until the model is loaded.

    Whoever calls ends the engine with its home.
    """
    host = f"127.0.0.1:{port}"
    began = time.monotonic()
    with (home.path / "bare.log").open("ab") as log:
        subprocess.Popen(
            [str(executable), "serve"],
            env=variables(home) | {"OLLAMA_HOST": host},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    while time.monotonic() - began < _LONGEST_S:
        try:
            _ask(f"http://{host}/api/version")
            break
        except OSError:
            time.sleep(_POLL_S)
    body = json.dumps({"model": model, "stream": False}).encode()
    _ask(f"http://{host}/api/generate", body)
    return time.monotonic() - began


def _ask(url: str, body: bytes | None = None) -> None:
    with _BARE.open(Request(url, body), timeout=_LONGEST_S) as response:
        response.read()


def pipeline_cpu_s(archive_url: str, folder: Path) -> float:
    """User and system seconds of fetching, hashing and unpacking by programs."""
    folder.mkdir()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [
            "bash",
            "-o",
            "pipefail",
            "-c",
            _PIPELINE,
            "pipeline",
            archive_url,
            str(folder),
        ],
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    shutil.rmtree(folder)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
