"""Pool membership: proof and discovery of the notebooks behind one URL.

ngrok balances a request among the members in the region where it arrives
(https://ngrok.com/docs/universal-gateway/endpoint-pooling). Members in other regions
are therefore not discovered; they serve the clients that are near to them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

from ...config.model_name import model_key
from ...errors import EndpointUnavailable
from ...protocol.pool import MemberInfo, Pool, derive_secret
from ...protocol.state import PoolMember
from ...tunnel.probe import probe_member
from ..context import DaemonContext
from .gateway import GatewayComponent

_MIXED: Final = (
    "Something else is behind this URL, too: a notebook with a different key, or "
    "another program. It receives requests and keys of the pool's clients."
)
_ONE_KEY: Final = (
    "Give each notebook of the pool the same --api-key, stop whatever else uses the "
    "domain, or use another --domain."
)


class PoolMembership:
    """Membership of one daemon in a pool; it does nothing without ``--pool``."""

    def __init__(self, context: DaemonContext, gateway: GatewayComponent) -> None:
        self._context, self._gateway = context, gateway
        self._pool: Pool | None = None
        self._made_for: tuple[str, str] | None = None
        self._is_proved = False
        self._mixed_at = float("-inf")
        self._announced: tuple[str, ...] = ()

    async def join(self) -> None:
        """Join the pool of the settings; call it before the URL is online."""
        settings = self._context.settings
        wanted = (settings.api_key, settings.domain) if settings.pool else None
        if wanted != self._made_for:
            self._pool, self._is_proved = None, False
            self._mixed_at = float("-inf")
            if wanted is not None:
                secret = await asyncio.to_thread(derive_secret, *wanted)
                self._pool = Pool(secret)
            self._made_for = wanted
        self._gateway.gateway.pool = self._pool

    async def prove(self, url: str) -> bool:
        """Prove that members are behind the URL; return False without a pool.

        After the first proof another program behind the URL is only a warning.

        Raises:
            EndpointUnavailable: If another program answers during the first proof.
            NetworkUnreachable, TunnelFailed, UserActionRequired: If no member answers.
        """
        pool, timeouts = self._pool, self._context.timeouts
        if pool is None:
            return False
        count = 1 if self._is_proved else timeouts.pool_start_probes
        answers = await self._probe(url, pool, count)
        if None in answers and not self._is_proved:
            raise EndpointUnavailable(_MIXED, _ONE_KEY)
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        if len(failures) == count:
            raise failures[0]
        self._is_proved = True
        return True

    async def watch(self, url: str) -> None:
        """Probe the members from time to time, and at once when our models change."""
        timeouts, loop = self._context.timeouts, asyncio.get_running_loop()
        due = loop.time() + timeouts.pool_probe_every_s
        while True:
            await asyncio.sleep(timeouts.heartbeat_s)
            has_news = self._announced != self._gateway.gateway.access.models
            if self._pool is None or not (has_news or loop.time() >= due):
                continue
            due = loop.time() + timeouts.pool_probe_every_s
            for answer in await self._probe(
                url, self._pool, timeouts.pool_start_probes if has_news else 1
            ):
                # The tunnel component reports a broken URL.
                if isinstance(answer, BaseException):
                    self._context.log(f"pool: {answer}")

    def facts(self) -> dict[str, Any]:
        """Return the pool's fields of the state."""
        pool, timeouts = self._pool, self._context.timeouts
        if pool is None:
            return {}
        gateway = self._gateway.gateway
        members = pool.members(
            gateway.access.models,
            within_s=timeouts.pool_member_s,
            reached=gateway.metrics.last_tunnel_request,
        )
        is_mixed = time.monotonic() - self._mixed_at <= timeouts.pool_member_s
        warnings = (f"{_MIXED} {_ONE_KEY}",) if is_mixed else ()
        return {"members": members, "warnings": (*warnings, *differences(members))}

    async def _probe(
        self, url: str, pool: Pool, count: int
    ) -> list[MemberInfo | BaseException | None]:
        """Send ``count`` probes concurrently; each may reach any member."""
        self._announced = self._gateway.gateway.access.models
        deadline_s = self._context.timeouts.probe_s
        answers = await asyncio.gather(
            *(
                probe_member(
                    url,
                    self._context.provider,
                    pool=pool,
                    models=self._announced,
                    deadline_s=deadline_s,
                )
                for _ in range(count)
            ),
            return_exceptions=True,
        )
        if None in answers:
            self._mixed_at = time.monotonic()
        return answers


def differences(members: Sequence[PoolMember]) -> tuple[str, ...]:
    """Return a warning if two members serve different models.

    A request reaches any member, so a model that only one serves fails at times.
    Members that are still loading have no models and are ignored.
    """
    known = [member for member in members if member.models]
    if len({frozenset(map(model_key, member.models)) for member in known}) <= 1:
        return ()
    listing = "; ".join(
        f"{member.id}: {', '.join(sorted(member.models))}" for member in known
    )
    warning = (
        "The members of the pool serve different models, and a request reaches any of "
        f"them ({listing}). Run %avocado_up with the same models in each."
    )
    return (warning,)
