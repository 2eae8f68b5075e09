"""Keys given and taken back on a host, before a gateway that is not opened."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from spicy_avocado_magic.config.api_key_options import ApiKeyRequest
from spicy_avocado_magic.config.settings import Settings
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.daemon.api_keys import ApiKeyManager
from spicy_avocado_magic.daemon.components.gateway import GatewayComponent
from spicy_avocado_magic.daemon.context import DaemonContext
from spicy_avocado_magic.daemon.state_store import StateStore
from spicy_avocado_magic.gateway.authentication import Caller
from spicy_avocado_magic.gateway.authorization import Authorizer
from spicy_avocado_magic.gateway.counters import UsageCounter
from spicy_avocado_magic.gateway.error_responses import ErrorResponse
from spicy_avocado_magic.protocol.state import State
from spicy_avocado_magic.protocol.state_folder import StateFolder
from spicy_avocado_magic.system.redaction import Redactor

from ..gateway.fake_requests import make_context


class Host:
    """Stands in for a host: what it shares, and a real gateway that listens nowhere."""

    def __init__(self, path: Path) -> None:
        self.log: list[str] = []
        self.redact = Redactor()
        self.context: Any = SimpleNamespace(
            settings=Settings(models=("tiny",), api_key="avocado-owner", token="tok"),
            folder=StateFolder(path),
            timeouts=Timeouts(overdraft_every_s=0.001),
            store=StateStore(State()),
            probe_secret=b"secret",
            log=self.log.append,
            redact=self.redact,
        )
        self.life = GatewayComponent(cast("DaemonContext", self.context))
        self.sharing = ApiKeyManager(cast("DaemonContext", self.context), self.life)

    def opens(self, secret: str) -> bool:
        """Return whether the gateway accepts this key."""
        try:
            Authorizer(self.life.gateway.access).keys.authenticate([secret])
        except ErrorResponse:
            return False
        return True


async def test_a_key_holds_at_once_is_stored_and_never_seen(tmp_path: Path) -> None:
    """Its secret is in one file, and redacted wherever else it may turn up."""
    host = Host(tmp_path)
    secret = host.sharing.add(ApiKeyRequest(name="ann"))
    assert host.opens(secret)
    assert host.opens("avocado-owner"), "the owner is shut out"
    stored = json.loads(host.context.folder.desired_state.read_text())
    assert [key["secret"] for key in stored["keys"]] == [secret]
    assert stored["token"] == "", "the token is in two files"
    assert secret not in host.redact(f"it says {secret}")
    assert secret not in " ".join(host.log)
    host.sharing.revoke("ann")
    assert not host.opens(secret)
    assert secret not in host.context.folder.desired_state.read_text()


async def test_a_key_that_cannot_be_stored_does_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the next host would not know must not open now either."""
    host = Host(tmp_path)
    before = host.life.gateway.access

    def full(path: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        host.sharing.add(ApiKeyRequest(name="ann"))
    assert host.life.gateway.access == before
    assert host.context.settings.keys == ()


async def test_a_new_key_with_an_old_name_starts_without_usage(tmp_path: Path) -> None:
    """Before its first request, too."""
    host = Host(tmp_path)
    host.sharing.add(ApiKeyRequest(name="ann"))
    host.life.gateway.metrics.keys["ann"] = UsageCounter(requests=7)
    host.sharing.revoke("ann")
    host.sharing.add(ApiKeyRequest(name="ann"))
    assert [key.requests for key in host.sharing.states()] == [0, 0]


async def test_requests_that_use_up_a_key_together_are_ended(tmp_path: Path) -> None:
    """The watch adds them up now and then."""
    host = Host(tmp_path)
    metrics = host.life.gateway.metrics
    caller = Caller(name="ann", tokens=10, digest=b"d")
    tasks = [asyncio.create_task(asyncio.Event().wait()) for _ in range(2)]
    for task in tasks:
        context = make_context(caller, task=task)
        metrics.request_started(context)
        metrics.admitted(context)
        context.record_chunk(b"{}\n" * 6)
    watching = asyncio.create_task(host.sharing.watch())
    done, _ = await asyncio.wait(tasks, timeout=5)
    watching.cancel()
    assert len(done) == 2, "they go on, though each has 6 of 10 tokens"
