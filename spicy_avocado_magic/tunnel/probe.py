"""Probe of the public URL: it must lead to this gateway before it is announced.

Behind the URL of a pool a request reaches any member, which proves its membership.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import aiohttp
from tenacity import (
    AsyncRetrying,
    retry_if_exception,
    stop_after_delay,
    wait_random_exponential,
)
from yarl import URL

from ..config.tunnel import TUNNEL
from ..errors import (
    AvocadoError,
    NetworkUnreachable,
    TrafficPolicyRejected,
    TunnelFailed,
)
from ..protocol.pool import (
    MEMBER_HEADER,
    POOL_HEADER,
    PROBE_HEADER,
    PROOF_HEADER,
    MemberInfo,
    Pool,
)
from .provider import TunnelProvider

_PATH: Final = "/api/version"
_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 1.0
_LONGEST_ATTEMPT_S: Final = 10.0
_SHORTEST_ATTEMPT_S: Final = 0.1
_BODY_BYTES: Final = 16 * 1024
_NONCE_BYTES: Final = 16

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Probe(Generic[T]):
    """One request and how its answer is judged.

    Attributes:
        headers: Of the request.
        read: Returns the result of a valid proof; None for any other text.
        unrelated: Result if an unrelated program answers; None makes that an error.
    """

    headers: dict[str, str]
    read: Callable[[str], T | None]
    unrelated: T | None = None


async def probe(
    public_url: str,
    provider: TunnelProvider,
    *,
    nonce: str,
    expect: str,
    deadline_s: float,
) -> None:
    """Return once the gateway behind the URL has answered the nonce.

    Each attempt opens a new connection, because behind a pooled URL each may lead to
    another notebook.

    Args:
        public_url: Scheme and host, no path.
        provider: Explains answers of its edge.
        nonce: Fresh for each probe.
        expect: ``gateway_proof(secret, nonce)``, which the gateway answers.
        deadline_s: Longest time over all attempts.

    Raises:
        TrafficPolicyRejected: If the edge refuses it by our own traffic policy.
        EndpointUnavailable, UserActionRequired: If the edge refuses it for a reason
            that no further attempt can change.
        NetworkUnreachable: If nothing answered the last attempt.
        TunnelFailed: If the edge or another program answered it.
    """

    def is_right(answer: str) -> bool | None:
        return hmac.compare_digest(answer.encode(), expect.encode()) or None

    fixed = _Probe(headers={PROBE_HEADER: nonce}, read=is_right)
    await _until_proved(public_url, provider, lambda: fixed, deadline_s)


async def probe_member(
    public_url: str,
    provider: TunnelProvider,
    *,
    pool: Pool,
    models: Sequence[str],
    deadline_s: float,
) -> MemberInfo | None:
    """Return which member of a pool answered behind the URL, and what it serves.

    None means that a gateway with another key, or another program, answered. That is
    reported and not retried, since requests of clients reach it as well.

    Args:
        public_url: Scheme and host, no path.
        provider: Explains answers of its edge.
        pool: Our membership: it signs the request and remembers who answered.
        models: The models that we serve, sent to the member that answers.
        deadline_s: Longest time over all attempts.

    Raises:
        EndpointUnavailable, NetworkUnreachable, TunnelFailed, UserActionRequired: As
            ``probe``.
    """

    def make_probe() -> _Probe[tuple[MemberInfo | None]]:
        nonce = secrets.token_hex(_NONCE_BYTES)

        def read(answer: str) -> tuple[MemberInfo | None] | None:
            return (pool.verify_answer(nonce, answer),) if answer else None

        return _Probe(
            headers={PROBE_HEADER: nonce, POOL_HEADER: pool.ask(nonce, models)},
            read=read,
            unrelated=(None,),
        )

    (member,) = await _until_proved(public_url, provider, make_probe, deadline_s)
    return member


async def _until_proved(
    public_url: str,
    provider: TunnelProvider,
    make_probe: Callable[[], _Probe[T]],
    deadline_s: float,
) -> T:
    url = URL(public_url).with_path(_PATH)
    is_ours = url.host in {"127.0.0.1", "localhost", "::1"}
    loop = asyncio.get_running_loop()
    deadline = loop.time() + deadline_s
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True),
        headers=TUNNEL.request_headers,
        trust_env=not is_ours,
    ) as session:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(_is_retryable),
            stop=stop_after_delay(deadline_s),
            wait=wait_random_exponential(_FIRST_WAIT_S, max=_LONGEST_WAIT_S),
            reraise=True,
        ):
            with attempt:
                left_s = max(_SHORTEST_ATTEMPT_S, deadline - loop.time())
                timeout_s = min(_LONGEST_ATTEMPT_S, left_s)
                return await _ask(session, url, provider, make_probe(), timeout_s)
    raise AssertionError  # the last attempt's error is raised


def _is_retryable(error: BaseException) -> bool:
    return (
        isinstance(error, AvocadoError)
        and not error.permanent
        and not isinstance(error, TrafficPolicyRejected)
    )


async def _ask(
    session: aiohttp.ClientSession,
    url: URL,
    provider: TunnelProvider,
    request: _Probe[T],
    timeout_s: float,
) -> T:
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with session.get(
            url, headers=request.headers, allow_redirects=False, timeout=timeout
        ) as response:
            answer = response.headers.get(PROOF_HEADER, "")
            if (proved := request.read(answer)) is not None:
                return proved
            body = await response.content.read(_BODY_BYTES)
    except (aiohttp.ClientError, OSError) as error:
        raise NetworkUnreachable(
            f"The public URL {url.origin()} does not answer: "
            f"{str(error) or type(error).__name__}.",
            "Check that this machine has internet access; it is tried again by itself.",
        ) from error
    text = body.decode(errors="replace")
    refusal = provider.explain_response(response.status, response.headers, text)
    if refusal is not None:
        raise refusal
    # A member that is too busy to answer is recognised by its header.
    if request.unrelated is not None and MEMBER_HEADER not in response.headers:
        return request.unrelated
    raise TunnelFailed(
        f"Another program answers at {url.origin()} (HTTP {response.status}).",
        "End the other program that uses this domain, or choose another one with "
        "--domain.",
    )
