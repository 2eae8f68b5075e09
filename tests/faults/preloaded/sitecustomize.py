"""Preloaded by ``PYTHONPATH`` into a service: stands in for what a machine may do.

``AVOCADO_FAULTS_CLOCK`` names a file with seconds by which ``time.time`` is off;
``AVOCADO_FAULTS_DESCRIPTORS`` is how many descriptors the host has open already.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path


def _shift_clock(path: Path) -> None:
    real = time.time

    def shifted() -> float:
        return real() + (float(path.read_text()) if path.exists() else 0.0)

    time.time = shifted


if name := os.environ.get("AVOCADO_FAULTS_CLOCK"):
    _shift_clock(Path(name))
if "spicy_avocado_magic.host" in sys.orig_argv:
    for _ in range(int(os.environ.get("AVOCADO_FAULTS_DESCRIPTORS", "0"))):
        os.open(os.devnull, os.O_RDONLY)
