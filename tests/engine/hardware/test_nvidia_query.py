"""NVIDIA's tool, by stand-ins of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from spicy_avocado_magic.engine.hardware import nvidia


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the tool would be, the only place that is looked at."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "nvidia-smi"


def write(tool: Path, script: str) -> None:
    """Make the tool a shell script."""
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o700)


def test_it_is_asked_for_these_fields_in_this_form(tool: Path) -> None:
    """And its exit status is told with what it said, odd bytes included."""
    write(tool, "echo \"$@\"; printf 'T\\377'; exit 9")
    told = nvidia.query_nvidia_smi("name,driver_version", "csv,noheader")
    assert told is not None
    asked = "--query-gpu=name,driver_version --format=csv,noheader"
    assert told.stdout == f"{asked}\nT\N{REPLACEMENT CHARACTER}"
    assert told.returncode == 9


@pytest.mark.parametrize("script", [None, "", "exec sleep 60"])
def test_no_tool_none_that_runs_and_none_that_hangs_tells_anything(
    tool: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    """A driver that hangs must not hold up the start."""
    monkeypatch.setattr(nvidia, "LONGEST_S", 0.2)
    if script == "":
        tool.write_bytes(b"\x7fELF of another machine")
        tool.chmod(0o700)
    elif script is not None:
        write(tool, script)
    assert nvidia.query_nvidia_smi("name", "csv") is None, "it told something"
