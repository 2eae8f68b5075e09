"""Preloaded by ``PYTHONPATH`` into a service: stands in for what a machine may do.

``AVOCADO_FAULTS_CLOCK`` names a file with seconds by which ``time.time`` is off;
``AVOCADO_FAULTS_DESCRIPTORS`` is how many descriptors the host has open already;
while the file exists that ``AVOCADO_FAULTS_NAMES`` names, no name resolves;
``AVOCADO_TEST_FAULTS`` slows a rehearsal's downloads (``tests/fault_injection``).
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any


def _shift_clock(path: Path) -> None:
    real = time.time

    def shifted() -> float:
        return real() + (float(path.read_text()) if path.exists() else 0.0)

    time.time = shifted


def _lose_names(path: Path) -> None:
    import uvloop

    real = socket.getaddrinfo

    def lookup(host: Any, *more: Any, **named: Any) -> Any:
        if path.exists() and not _is_number(str(host)):
            message = "Temporary failure in name resolution"
            raise socket.gaierror(socket.EAI_AGAIN, message)
        return real(host, *more, **named)

    async def of_loop(_loop: Any, *parts: Any, **named: Any) -> Any:
        call = functools.partial(socket.getaddrinfo, *parts, **named)
        return await asyncio.to_thread(call)

    socket.getaddrinfo = lookup
    setattr(uvloop.Loop, "getaddrinfo", of_loop)  # noqa: B010  (other types)


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


if name := os.environ.get("AVOCADO_FAULTS_NAMES"):
    _lose_names(Path(name))
if name := os.environ.get("AVOCADO_FAULTS_CLOCK"):
    _shift_clock(Path(name))
if "spicy_avocado_magic.daemon" in sys.orig_argv:
    for _ in range(int(os.environ.get("AVOCADO_FAULTS_DESCRIPTORS", "0"))):
        os.open(os.devnull, os.O_RDONLY)
is_rehearsal = "spicy_avocado_magic.rehearsal" in sys.orig_argv
if "AVOCADO_TEST_FAULTS" in os.environ and is_rehearsal:
    from tests.fault_injection import downloads

    downloads.install()
