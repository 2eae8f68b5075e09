"""Fixtures that every folder of tests may use, and how the whole suite is run."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Generator
from typing import Final

import pytest
import uvloop

from .alone import pytest_collection_modifyitems, pytest_runtest_protocol
from .interrupts import restore_interrupts
from .lazy_import import import_lazily
from .machine_speed import scaled, slowdown
from .real_engines import real_ollama

__all__ = ["pytest_collection_modifyitems", "pytest_runtest_protocol", "real_ollama"]

WORKERS: Final = min(16, 2 * (os.cpu_count() or 1))
"""Two a core, since tests wait about as long as they compute."""

import_lazily("anthropic", "openai")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Share the whole suite out among workers; files that are named run in here.

    ``-n`` decides where it is given, and without pytest-xdist all runs in here.
    """
    if (
        config.pluginmanager.hasplugin("xdist")
        and not hasattr(config, "workerinput")
        and config.args_source is pytest.Config.ArgsSource.TESTPATHS
        and config.option.numprocesses is None
        and not config.option.usepdb
    ):
        config.option.numprocesses = WORKERS
        config.option.dist = "worksteal"


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Restore interrupts, and widen every test's time-out with the machine.

    First, so that pytest-timeout and the workers find the wider time-out.
    """
    restore_interrupts()
    if not hasattr(config, "workerinput") and config.pluginmanager.hasplugin("timeout"):
        given_s = config.getoption("timeout")
        config.option.timeout = scaled(
            float(config.getini("timeout")) if given_s is None else given_s
        )


def pytest_report_header() -> str:
    """Print how slow this machine is, by which bounds of seconds are widened."""
    return f"machine: bounds of seconds are multiplied by {slowdown():g}"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect tests, not garbage: Python 3.11.7 may fail to parse meanwhile.

    The collected tests stay until the end, so no later garbage collection visits them.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Save measured coverage before xdist kills workers that end too slowly."""
    if (coverage := sys.modules.get("coverage")) is None:
        return
    if (measured := coverage.Coverage.current()) is not None:
        measured.stop()
        measured.save()


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], uvloop.Loop]]:
    """Run coroutines on the loop that the host has, so that its ways are tested."""
    return {"uvloop": uvloop.new_event_loop}
