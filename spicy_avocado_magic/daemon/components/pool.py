"""The pool as the tunnel sees it: who else is behind the URL, asked through the URL.

ngrok balances a request among the members in the region where it arrives
(https://ngrok.com/docs/universal-gateway/endpoint-pooling): those in another region
are not met, and serve the clients that are near to them.
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

_NO_MEMBER: Final = (
    "Something else is behind this URL, too: a notebook with a different key, or "
    "another program. It gets requests of the pool's clients, and their keys."
)
_ONE_KEY: Final = (
    "Give each notebook of the pool the same --api-key, end what else uses the domain, "
    "or use another --domain."
)


class PoolMembership:
    """One host's part in a pool; does nothing while none is wanted."""

    def __init__(self, context: DaemonContext, gateway: GatewayComponent) -> None:
        self._context, self._gateway = context, gateway
        self._pool: Pool | None = None
        self._made_for: tuple[str, str] | None = None
        self._is_proved = False
        self._stranger_at = float("-inf")
        self._told: tuple[str, ...] = ()

    async def join(self) -> None:
        """Be a member if the settings want it; to be done before the URL is online."""
        settings = self._context.settings
        wanted = (settings.api_key, settings.domain) if settings.pool else None
        if wanted != self._made_for:
            self._pool, self._is_proved = None, False
            self._stranger_at = float("-inf")
            if wanted is not None:
                secret = await asyncio.to_thread(derive_secret, *wanted)
                self._pool = Pool(secret)
            self._made_for = wanted
        self._gateway.gateway.pool = self._pool

    async def prove(self, url: str) -> bool:
        """Prove that members are behind the URL, and meet them; False without a pool.

        Who was proved once stays, whoever else turns up.

        Raises:
            EndpointUnavailable: If at the first time a stranger is there, too.
            NetworkUnreachable, TunnelFailed, UserActionRequired: If nobody answers.
        """
        pool, policy = self._pool, self._context.timeouts
        if pool is None:
            return False
        count = 1 if self._is_proved else policy.pool_start_probes
        answers = await self._ask_often(url, pool, count)
        if None in answers and not self._is_proved:
            raise EndpointUnavailable(_NO_MEMBER, _ONE_KEY)
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        if len(failures) == count:
            raise failures[0]
        self._is_proved = True
        return True

    async def watch(self, url: str) -> None:
        """Ask now and then who is there, and tell all when our models change."""
        policy, loop = self._context.timeouts, asyncio.get_running_loop()
        due = loop.time() + policy.pool_probe_every_s
        while True:
            await asyncio.sleep(policy.heartbeat_s)
            has_news = self._told != self._gateway.gateway.access.models
            if self._pool is None or not (has_news or loop.time() >= due):
                continue
            due = loop.time() + policy.pool_probe_every_s
            for answer in await self._ask_often(
                url, self._pool, policy.pool_start_probes if has_news else 1
            ):
                # Whether the URL is well is for the tunnel's own watch to judge.
                if isinstance(answer, BaseException):
                    self._context.log(f"pool: {answer}")

    def facts(self) -> dict[str, Any]:
        """Return what the state tells of the pool."""
        pool, policy = self._pool, self._context.timeouts
        if pool is None:
            return {}
        gateway = self._gateway.gateway
        members = pool.members(
            gateway.access.models,
            within_s=policy.pool_member_s,
            reached=gateway.metrics.last_tunnel_request,
        )
        is_mixed = time.monotonic() - self._stranger_at <= policy.pool_member_s
        warnings = (f"{_NO_MEMBER} {_ONE_KEY}",) if is_mixed else ()
        return {"members": members, "warnings": (*warnings, *differences(members))}

    async def _ask_often(
        self, url: str, pool: Pool, count: int
    ) -> list[MemberInfo | BaseException | None]:
        """Ask at once as often as told; each question reaches any member."""
        self._told = self._gateway.gateway.access.models
        deadline_s = self._context.timeouts.probe_s
        answers = await asyncio.gather(
            *(
                probe_member(
                    url,
                    self._context.provider,
                    pool=pool,
                    models=self._told,
                    deadline_s=deadline_s,
                )
                for _ in range(count)
            ),
            return_exceptions=True,
        )
        if None in answers:
            self._stranger_at = time.monotonic()
        return answers


def differences(members: Sequence[PoolMember]) -> tuple[str, ...]:
    """Return a warning if two members serve different models; one that loads has none.

    A request goes to any member, so what only one of them serves fails at times.
    """
    known = [member for member in members if member.models]
    if len({frozenset(map(model_key, member.models)) for member in known}) <= 1:
        return ()
    told = "; ".join(f"{one.id}: {', '.join(sorted(one.models))}" for one in known)
    warning = (
        "The members of the pool serve different models, and a request reaches any of "
        f"them ({told}). Run %avocado_up with the same models in each."
    )
    return (warning,)
