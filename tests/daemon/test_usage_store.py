"""What each key has used, on disk."""

from __future__ import annotations

import asyncio
import json
import stat
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from spicy_avocado_magic.config.api_keys import ApiKey, key_digest
from spicy_avocado_magic.config.settings import Settings
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.daemon.components.gateway import GatewayComponent
from spicy_avocado_magic.daemon.context import DaemonContext
from spicy_avocado_magic.daemon.usage_store import UsageStore
from spicy_avocado_magic.gateway.counters import Metrics, UsageCounter
from spicy_avocado_magic.protocol.state_folder import StateFolder
from tests.machine_speed import scaled

ANN = ApiKey(name="ann", secret="avocado-ann", id="1")


class Host:
    """Stands in for all of a host but its ledger."""

    def __init__(self, path: Path, *keys: ApiKey) -> None:
        self.log: list[str] = []
        self.folder = StateFolder(path)
        self.metrics = Metrics()
        self.context: Any = SimpleNamespace(
            settings=Settings(keys=keys),
            folder=self.folder,
            timeouts=Timeouts(usage_every_s=0.001),
            log=self.log.append,
        )
        gateway: Any = SimpleNamespace(gateway=SimpleNamespace(metrics=self.metrics))
        self.ledger = UsageStore(
            cast("DaemonContext", self.context), cast("GatewayComponent", gateway)
        )


def _use(**facts: Any) -> UsageCounter:
    return UsageCounter(
        requests=2, tokens_in=30, tokens_out=400, digest=key_digest(ANN.secret), **facts
    )


def test_the_next_host_counts_on(tmp_path: Path) -> None:
    """All of it, and when the key was last used."""
    host = Host(tmp_path, ANN)
    last = time.monotonic() - 100
    host.metrics.keys["ann"] = _use(is_estimate=True, last=last)
    host.ledger.save()
    again = Host(tmp_path, ANN)
    again.ledger.restore()
    use = again.metrics.keys["ann"]
    assert use.last is not None
    assert abs(use.last - last) < 2, "when it was last used is lost"
    use.last = last
    assert use == host.metrics.keys["ann"]


def test_the_file_is_the_users_alone_and_holds_no_secret(tmp_path: Path) -> None:
    """Names and counts are nobody else's business."""
    host = Host(tmp_path, ANN)
    host.metrics.keys["ann"] = _use()
    host.ledger.save()
    assert stat.S_IMODE(host.folder.usage.stat().st_mode) == 0o600
    text = host.folder.usage.read_text()
    assert ANN.secret not in text
    assert key_digest(ANN.secret).hex() not in text
    assert [path.name for path in tmp_path.iterdir()] == ["usage.json"], "a stray file"


@pytest.mark.parametrize("other", [replace(ANN, id="2"), replace(ANN, name="bob")])
def test_another_key_starts_at_zero(tmp_path: Path, other: ApiKey) -> None:
    """Name and id must both be those of the key that was counted."""
    host = Host(tmp_path, ANN)
    host.metrics.keys["ann"] = _use()
    host.ledger.save()
    again = Host(tmp_path, other)
    again.ledger.restore()
    assert again.metrics.keys == {}


def test_the_owners_use_and_that_of_keys_which_are_gone_is_not_kept(
    tmp_path: Path,
) -> None:
    """Only a bound over a lifetime needs a memory."""
    host = Host(tmp_path, ANN)
    host.metrics.keys |= {"owner": _use(), "gone": _use(), "ann": _use()}
    host.ledger.save()
    names = [entry["name"] for entry in json.loads(host.folder.usage.read_text())]
    assert names == ["ann"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1]", '[{"name": 1}]', "null", '{"a": 1}', '[{"name": "ann"}]', "[[]]"],
)
def test_a_file_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    """What a full disk or another hand cut short does not keep a host from starting."""
    host = Host(tmp_path, ANN)
    host.folder.usage.write_text(text)
    host.folder.usage.chmod(0o600)
    host.ledger.restore()
    assert host.metrics.keys == {}


def test_nothing_is_written_unless_something_changed(tmp_path: Path) -> None:
    """An idle service leaves the disk alone."""
    host = Host(tmp_path, ANN)
    host.metrics.keys["ann"] = _use()
    host.ledger.save()
    host.folder.usage.unlink()
    host.ledger.save()
    assert not host.folder.usage.exists(), "the same was written again"
    host.metrics.keys["ann"].tokens_out += 1
    host.ledger.save()
    assert json.loads(host.folder.usage.read_text())[0]["tokens_out"] == 401


async def test_a_failed_save_is_reported_and_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service continues; counts are saved when the disk has space."""
    host = Host(tmp_path, ANN)
    host.metrics.keys["ann"] = _use()
    real, saved = Path.replace, asyncio.Event()

    def full_once(path: Path, target: Path) -> Path:
        if not host.log:
            raise OSError(28, "No space left on device")
        saved.set()
        return real(path, target)

    monkeypatch.setattr(Path, "replace", full_once)
    keeping = asyncio.create_task(host.ledger.save_periodically())
    await asyncio.wait_for(saved.wait(), scaled(5))
    keeping.cancel()
    assert "No space left" in host.log[0]
