"""``%avocado_doctor`` in a real kernel, beside a rehearsal that runs."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator

import pytest

from spicy_avocado_magic.protocol.state_folder import StateFolder
from tests.main_job.home import Home

from .cells import loaded_kernel, new_kernel_home
from .kernel import Kernel, Output

TOKEN = "2Rn6ZaVPx0AbCdEfGhIjKlMnOpQ_3cQSeYtR9uVwXyZ12345"


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Give the kernel a home of its own; at its end nothing may be left."""
    with new_kernel_home(monkeypatch) as made:
        yield made


@pytest.fixture
def kernel(home: Home) -> Iterator[Kernel]:
    """Start a kernel with the extension loaded."""
    with loaded_kernel() as started:
        yield started


def _line(output: Output, name: str) -> str:
    """Return the line of a check."""
    assert output.status == "ok", output.text
    lines = output.text.splitlines()
    return next(line for line in lines if line[2:].startswith(f"{name} "))


def test_the_doctor_checks_the_running_service_and_what_a_killed_one_left(
    kernel: Kernel, home: Home
) -> None:
    """It runs without a service, beside one, and after its daemon was killed."""
    bare = kernel.run("%avocado_doctor --rehearse")
    assert "REHEARSAL" in bare.text
    assert "No service is running" in _line(bare, "service")
    assert _line(bare, "registry").startswith("✓"), bare.text
    up = kernel.run("%avocado_up tiny --rehearse")
    assert up.status == "ok", up.text
    key = kernel.run("print(avocado.api_key)").text.strip()
    report = home.path / "report.json"
    code = f"T = {TOKEN!r}\n%avocado_doctor --rehearse --token $T --report {report}"
    good = kernel.run(code)
    for name in ("service", "remains", "registry", "ngrok", "clock", "agent", "state"):
        assert _line(good, name).startswith("✓"), good.text
    text = report.read_text()
    for secret in (TOKEN, key):
        assert secret not in text + good.text, f"{secret} is shown"
    assert str(home.path / "home") not in text, "the home folder is in the report"
    content = json.loads(text)
    assert content["state"]["models"][0]["name"].startswith("tiny")
    assert content["events"], "the event log is not in the report"
    again = kernel.run(code)
    assert again.status == "error", "an existing report was overwritten"
    assert "already exists" in again.text
    record = StateFolder.find(rehearsal=True).read_record()
    assert record is not None
    os.kill(record.host.pid, signal.SIGKILL)
    assert "background process that died" in _line(
        kernel.run("%avocado_doctor --rehearse"), "remains"
    )
    kernel.run("%avocado_down")
    assert _line(kernel.run("%avocado_doctor --rehearse"), "remains").startswith("✓")
