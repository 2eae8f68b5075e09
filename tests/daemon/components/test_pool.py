"""A host's part in a pool, with the URL's other side played by the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web

from spicy_avocado_magic.config.settings import Settings
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.daemon.components.gateway import GatewayComponent
from spicy_avocado_magic.daemon.components.pool import PoolMembership, differences
from spicy_avocado_magic.daemon.context import DaemonContext
from spicy_avocado_magic.daemon.state_store import StateStore
from spicy_avocado_magic.errors import AvocadoError, EndpointUnavailable
from spicy_avocado_magic.protocol.event_log import EventLog
from spicy_avocado_magic.protocol.pool import (
    POOL_HEADER,
    PROBE_HEADER,
    PROOF_HEADER,
    Pool,
    derive_secret,
)
from spicy_avocado_magic.protocol.state import PoolMember, State
from spicy_avocado_magic.protocol.state_folder import StateFolder
from spicy_avocado_magic.system.platforms import PLATFORMS
from spicy_avocado_magic.system.redaction import Redactor
from tests.machine_speed import scaled

from ...tunnel_parts import serving

OFFLINE = "ERR_NGROK_3200"
KEY, DOMAIN = "one-key-for-all-of-us", "a.ngrok.app"
POLICY = Timeouts(
    probe_s=0.3, pool_start_probes=4, heartbeat_s=0.01, pool_probe_every_s=60.0
)


def _context(folder: Path, policy: Timeouts = POLICY) -> DaemonContext:
    redact = Redactor()
    return DaemonContext(
        settings=Settings(api_key=KEY, domain=DOMAIN, pool=True),
        folder=StateFolder(folder),
        timeouts=policy,
        platform=PLATFORMS[-1],
        store=StateStore(State()),
        children=cast("Any", None),
        log=EventLog(folder / "flight.log", redact),
        redact=redact,
        probe_secret=b"secret",
    )


class Behind:
    """The endpoints behind the URL, members and others in turn."""

    def __init__(self) -> None:
        self.url = ""
        self.pools: list[Pool | None] = []
        """None is a program that knows nothing of pools."""
        self.calls = 0
        self.was_called = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        """Answer as the next endpoint; a non-member sends another proof."""
        self.calls += 1
        self.was_called.set()
        if not self.pools:
            return web.Response(status=404, headers={"Ngrok-Error-Code": OFFLINE})
        pool = self.pools[self.calls % len(self.pools)]
        if pool is None:
            return web.Response(text="hello")
        nonce, asked = request.headers[PROBE_HEADER], request.headers[POOL_HEADER]
        answered = pool.answer(nonce, asked, ["tiny"])
        return web.Response(headers={PROOF_HEADER: answered or "another proof"})


@pytest.fixture
async def behind() -> AsyncIterator[Behind]:
    """Open the other side of a URL."""
    behind = Behind()
    app = web.Application()
    app.router.add_get("/api/version", behind.answer)
    async with serving(app) as behind.url:
        yield behind


@pytest.fixture
def member() -> Pool:
    """Another member of the same pool."""
    return Pool(derive_secret(KEY, DOMAIN))


@pytest.fixture
async def life(tmp_path: Path) -> PoolMembership:
    """A part in a pool that was joined."""
    context = _context(tmp_path)
    gateway = GatewayComponent(context)
    life = PoolMembership(context, gateway)
    await life.join()
    assert gateway.gateway.pool is not None, "the gateway does not answer members"
    return life


async def test_without_a_pool_nothing_is_probed_or_reported(
    tmp_path: Path, behind: Behind
) -> None:
    """One who left a pool is as one who never was in it."""
    context = _context(tmp_path)
    gateway = GatewayComponent(context)
    life = PoolMembership(context, gateway)
    await life.join()
    context.settings = Settings(api_key=KEY, domain=DOMAIN)
    await life.join()
    assert gateway.gateway.pool is None, "the gateway still answers members"
    assert not await life.prove(behind.url)
    assert life.facts() == {}
    assert behind.calls == 0


async def test_the_secret_is_derived_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restarted tunnel keeps its id; another key makes another member."""
    context = _context(tmp_path)
    life = PoolMembership(context, GatewayComponent(context))
    await life.join()
    first = life.facts()["members"][0].id
    await life.join()
    assert life.facts()["members"][0].id == first
    context.settings = Settings(api_key=KEY + "x", domain=DOMAIN, pool=True)
    await life.join()
    assert life.facts()["members"][0].id != first


async def test_the_first_proof_meets_the_others(
    life: PoolMembership, behind: Behind, member: Pool
) -> None:
    """A few questions at the start, one at each later proof."""
    behind.pools = [member, Pool(derive_secret(KEY, DOMAIN))]
    assert await life.prove(behind.url)
    assert behind.calls == POLICY.pool_start_probes
    assert {other.models for other in life.facts()["members"][1:]} == {("tiny",)}
    assert len(life.facts()["members"]) == 3
    assert await life.prove(behind.url)
    assert behind.calls == POLICY.pool_start_probes + 1


@pytest.mark.parametrize("outsider", [Pool(b"of another key"), None])
async def test_an_endpoint_with_another_key_is_refused_at_first_and_a_warning_later(
    life: PoolMembership, behind: Behind, member: Pool, outsider: Pool | None
) -> None:
    """Who comes does not stay beside one; who was there does not go."""
    behind.pools = [member, outsider]
    with pytest.raises(EndpointUnavailable, match="different key"):
        await life.prove(behind.url)
    behind.pools = [member]
    assert await life.prove(behind.url)
    behind.pools = [outsider]
    assert await life.prove(behind.url), "a member left because of an outsider"
    assert any("different key" in text for text in life.facts()["warnings"])


async def test_nobody_behind_the_url_is_a_failure_at_any_time(
    life: PoolMembership, behind: Behind, member: Pool
) -> None:
    """The tunnel has to be restarted then."""
    with pytest.raises(AvocadoError):
        await life.prove(behind.url)
    behind.pools = [member]
    assert await life.prove(behind.url)
    behind.pools = []
    with pytest.raises(AvocadoError):
        await life.prove(behind.url)


async def _calls(behind: Behind, is_enough: Callable[[int], bool]) -> None:
    async with asyncio.timeout(scaled(5)):
        while not is_enough(behind.calls):
            behind.was_called.clear()
            await behind.was_called.wait()


async def test_members_hear_of_our_new_models(
    tmp_path: Path, behind: Behind, member: Pool
) -> None:
    """A burst of probes announces them, and then no more."""
    context = _context(tmp_path)
    gateway = GatewayComponent(context)
    life = PoolMembership(context, gateway)
    await life.join()
    behind.pools = [member]
    await life.prove(behind.url)
    watching = asyncio.create_task(life.watch(behind.url))
    gateway.serve(("new",))
    await _calls(behind, lambda calls: calls >= 2 * POLICY.pool_start_probes)
    assert member.members([], within_s=60)[1].models == ("new",)
    await asyncio.sleep(20 * POLICY.heartbeat_s)
    assert behind.calls == 2 * POLICY.pool_start_probes, "it asks without a reason"
    watching.cancel()


async def test_the_url_is_asked_now_and_then(
    tmp_path: Path, behind: Behind, member: Pool
) -> None:
    """One question each time, whatever it is answered."""
    context = _context(tmp_path, Timeouts(pool_probe_every_s=0.01, heartbeat_s=0.001))
    life = PoolMembership(context, GatewayComponent(context))
    await life.join()
    behind.pools = [member, Pool(b"of another key")]
    watching = asyncio.create_task(life.watch(behind.url))
    await _calls(behind, lambda calls: calls >= 3)
    watching.cancel()
    assert len(life.facts()["members"]) == 2
    assert any("different key" in text for text in life.facts()["warnings"])


def test_the_questions_of_an_idle_day_are_few() -> None:
    """Of ngrok's 20,000 free requests a month, hardly any is used for this."""
    assert 24 * 3600 / Timeouts().pool_probe_every_s <= 50


@pytest.mark.parametrize(
    ("models", "is_reported"),
    [
        ([("a",), ("a",)], False),
        ([("a", "b"), ("B:latest", "library/a")], False),
        ([("a",), ()], False),
        ([("a",), ("b",)], True),
        ([("a",), ("not a name",)], True),
        ([("a",), ("a", "b")], True),
    ],
)
def test_different_models_are_reported_but_not_different_spellings(
    models: list[tuple[str, ...]], is_reported: bool
) -> None:
    """One that still loads its models differs from nobody."""
    members = [PoolMember(id=str(n), models=names) for n, names in enumerate(models)]
    assert bool(differences(members)) is is_reported
