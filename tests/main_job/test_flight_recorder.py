"""The flight recorder of a real host: cause and effect, calls, ends, no secrets."""

from __future__ import annotations

import os
import re
import signal
import time
from dataclasses import replace

import pytest

from spicy_avocado_magic import down, logs, status
from spicy_avocado_magic.client.handle import Avocado
from spicy_avocado_magic.client.last_run import last_exit_report
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.protocol.event_log import (
    ENDED,
    ENDING,
    REQUESTED,
    STARTED,
    EventRecord,
    read_last_life,
)
from spicy_avocado_magic.protocol.state_folder import StateFolder
from tests.machine_speed import scaled

from .chat import stream_chat
from .home import Home

WITHIN_S = scaled(15.0)


def _entries() -> tuple[EventRecord, ...]:
    return read_last_life(StateFolder.find(rehearsal=True).path)


def _wait_for(
    component: str, phase: str, after: int = 0, text: str = ""
) -> EventRecord:
    """Return the first event of a component after another one."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        for entry in _entries():
            is_it = (entry.component, entry.phase) == (component, phase)
            if is_it and entry.number > after and text in entry.text:
                return entry
        assert time.monotonic() < deadline, f"{component} {phase}: {_entries()}"
        time.sleep(0.02)


def _kill(name: str) -> None:
    record = StateFolder.find(rehearsal=True).read_record()
    assert record is not None, "no record of a running host"
    pids = {child.name: child.identity.pid for child in record.children}
    os.kill(pids[name], signal.SIGKILL)


def _pid(avocado: Avocado) -> int:
    state = avocado.status()
    assert state is not None, "the host is gone"
    return state.pid


def test_a_killed_engine_is_a_chain_of_events(home: Home) -> None:
    """Its exit, requests held, started again, ready after so long, requests go on."""
    home.up("tiny")
    started, *_ = _entries()
    assert started.what == STARTED
    assert started.facts["settings"]["models"] == ["tiny"]
    before = _entries()[-1].number
    _kill("engine")
    fell = _wait_for("engine", "backoff", before)
    assert "signal 9" in fell.text, fell
    assert (fell.error, fell.because) == ("EngineFailed", 0)
    _wait_for("engine", "ready", fell.number, "on CPU")
    by_number = {entry.number: entry for entry in _entries()}
    ready = _wait_for("engine", "ready", fell.number, "on CPU")
    assert ready.after_s is not None, "its duration is missing"
    causes = [ready]
    while causes[-1].because:
        causes.append(by_number[causes[-1].because])
    assert causes[-1] == fell, f"ready does not follow from the fall: {causes}"
    held, passed = [e for e in by_number.values() if "requests" in e.text]
    assert (held.component, held.because) == ("gateway", fell.number)
    assert (passed.component, passed.because) == ("gateway", ready.number)


def test_calls_and_their_effects_are_recorded(home: Home) -> None:
    """A changed setting, keys given and taken back, and the end with its reason."""
    avocado = home.up("tiny", local=True)
    home.up("tiny", "other", local=True)
    called = next(entry for entry in _entries() if entry.what == REQUESTED)
    assert called.text == "up: models"
    assert _wait_for("models", "waiting").because == called.number
    avocado.add_key("ann")
    avocado.revoke_key("ann")
    texts = [entry.text for entry in _entries()]
    assert "a key was given to ann" in texts
    assert "the key of ann was taken back" in texts
    os.kill(_pid(avocado), signal.SIGTERM)
    assert not home.wait_no_processes()
    ending, *_, ended = [e for e in _entries() if e.what in (ENDING, ENDED)]
    assert (ending.text, ended.text) == ("got SIGTERM", "got SIGTERM")
    report = last_exit_report(rehearse=True)
    assert report is not None
    assert "got SIGTERM" in report.text


def test_status_after_a_killed_host_says_what_happened(home: Home) -> None:
    """When, what its guard ended, and how to have it back; `down` clears it all."""
    avocado = home.up("tiny")
    pid = _pid(avocado)
    os.kill(pid, signal.SIGKILL)
    assert not home.wait_no_processes(), "something outlived the host"
    assert status() is None
    report = last_exit_report(rehearse=False)
    assert report is not None
    assert report.rehearsal
    assert re.search(rf"\(pid {pid}\) was killed at \d{{4}}", report.text), report
    assert "agent, engine" in report.text
    assert "%avocado_up starts it again with its key and models" in report.text
    again = home.up()
    assert again.models == ("tiny",), "the remedy does not hold"
    assert logs("engine", count=500), "what came before is gone"
    down()
    assert logs() == []
    assert last_exit_report(rehearse=False) is None


def test_no_log_holds_a_secret_or_a_control_character(home: Home) -> None:
    """Not the owner's key, a named key, the token, a prompt or an escape sequence."""
    avocado = home.up("tiny", token="rehearsal-token-0123456789")
    secret = avocado.add_key("ann").get_secret_value()
    secrets = (avocado.api_key, secret, "rehearsal-token-0123456789")
    assert stream_chat(avocado.url, secret)
    _kill("agent")
    _wait_for("tunnel", "backoff")
    folder = StateFolder.find(rehearsal=True)
    for path in folder.logs:
        text = path.read_text(errors="replace")
        assert not [s for s in secrets if s in text], f"{path.name} holds a secret"
    shown = avocado.logs(count=10_000)
    assert len(shown) > 20
    assert all(line.isprintable() for line in shown), "a terminal would obey a line"


@pytest.mark.parametrize("name", ["host", "engine"])
def test_a_log_that_has_grown_is_rotated(home: Home, name: str) -> None:
    """A flood does not fill the disk, and the service does not notice."""
    policy = replace(Timeouts(), logs_check_every_s=0.05)
    avocado = home.up("tiny", policy=policy, local=True)
    path = StateFolder.find(rehearsal=True).log(name)
    with path.open("ab") as file:
        for _ in range(6):
            file.write(b"flood\n" * (2**20 // 6))
    deadline = time.monotonic() + WITHIN_S
    while path.stat().st_size > 2**20:
        assert time.monotonic() < deadline, "the log grows on"
        time.sleep(0.02)
    assert path.with_suffix(".1.log").stat().st_size <= 5 * 2**20
    assert stream_chat(avocado.local_url, avocado.api_key)
    assert status() is not None
