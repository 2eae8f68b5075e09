"""NVIDIA's own tool, which comes with the driver and tells of its cards."""

from __future__ import annotations

import shutil
import subprocess
from typing import Final

LONGEST_S: Final = 10.0


def query(fields: str, form: str) -> subprocess.CompletedProcess[str] | None:
    """Ask ``nvidia-smi`` for fields of every card, a line each; blocks.

    Args:
        fields: Names joined by commas, of ``nvidia-smi --help-query-gpu``.
        form: As ``--format`` takes it, such as ``csv,noheader``.

    Returns:
        What it said, and its exit status; None where there is no such tool, or one
        that does not end within ``LONGEST_S``.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        return subprocess.run(
            [program, f"--query-gpu={fields}", f"--format={form}"],
            capture_output=True,
            check=False,
            timeout=LONGEST_S,
            stdin=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
