"""The event log of a real daemon: transitions, requests, ends, no secrets."""

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
    """Return a component's first record beyond the first ``after`` ones."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        for entry in _entries()[after:]:
            is_it = (entry.component, entry.phase) == (component, phase)
            if is_it and text in entry.text:
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


def test_a_killed_engine_is_recorded_from_its_exit_to_ready(home: Home) -> None:
    """Its exit, requests held, started again, ready, requests forwarded."""
    home.up("tiny")
    started, *_ = _entries()
    assert started.what == STARTED
    assert started.facts["settings"]["models"] == ["tiny"]
    before = len(_entries())
    _kill("engine")
    fell = _wait_for("engine", "backoff", before)
    assert "signal 9" in fell.text, fell
    assert fell.error == "EngineFailed"
    ready = _wait_for("engine", "ready", before, "on CPU")
    assert ready.after_s is not None, "the record does not say how long it took"
    _wait_for("gateway", "", before, "forwards requests again")
    records = _entries()[before:]
    held = _wait_for("gateway", "", before, "holds requests")
    order = [records.index(record) for record in (fell, held, ready)]
    assert order == sorted(order), f"not in their order: {records}"


def test_requests_and_their_effects_are_recorded(home: Home) -> None:
    """A changed setting, keys given and taken back, and the end with its reason."""
    avocado = home.up("tiny", local=True)
    home.up("tiny", "other", local=True)
    requested = next(i for i, e in enumerate(_entries()) if e.what == REQUESTED)
    assert _entries()[requested].text == "up: models"
    _wait_for("models", "waiting", requested)
    avocado.add_key("ann")
    avocado.revoke_key("ann")
    texts = [entry.text for entry in _entries()]
    assert "created the key of ann" in texts
    assert "revoked the key of ann" in texts
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
