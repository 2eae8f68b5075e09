"""The log of the stand-in has the lines that the product reads."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from spicy_avocado_magic.rehearsal.fake_downloads.archive import engine_script

from ..conftest import Serve

LINES = [
    r'level=INFO source=\S+ msg="Listening on 127\.0\.0\.1:\d+ \(version 0\.34\.1\)"',
    r'level=INFO source=\S+ msg="discovering available GPUs\.\.\."',
    r'level=INFO source=\S+ msg="inference compute" id=\S+ library=cpu .*total="',
    r'level=INFO source=\S+ msg="vram-based default context" total_vram="0 B"',
]


async def test_the_log_reads_like_a_real_one(tmp_path: Path, serve: Serve) -> None:
    """Listening comes first, then what it computes on."""
    program = tmp_path / "ollama"
    program.write_bytes(engine_script("0.34.1"))
    program.chmod(0o755)
    async with serve(program) as served:
        log = served.log.read_text()
    assert re.search(".*".join(LINES), log, re.DOTALL), f"a line is missing in:\n{log}"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is a GPU")
async def test_the_log_of_a_real_engine_has_these_lines(
    real_ollama: Path, serve: Serve
) -> None:
    """What the stand-in imitates is there."""
    async with serve(real_ollama) as served:
        log = served.log.read_text()
    lines = ".*".join([LINES[0], LINES[2]] if served.is_older else LINES)
    lines = lines.replace(r"0\.34\.1", r"[\d.]+")
    assert re.search(lines, log, re.DOTALL), f"a line is missing in:\n{log}"
