"""Prove that the public URL leads to this very gateway, before it is announced."""

from __future__ import annotations

import asyncio
import hmac
from typing import Final

import aiohttp
from tenacity import (
    AsyncRetrying,
    retry_if_exception,
    stop_after_delay,
    wait_random_exponential,
)
from yarl import URL

from ..errors import AvocadoError, NetworkUnreachable, TunnelFailed
from ..proof import PROBE_HEADER, PROOF_HEADER
from .codes import code_of, explain

_PATH: Final = "/api/version"
_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 1.0
_LONGEST_ATTEMPT_S: Final = 10.0
_SHORTEST_ATTEMPT_S: Final = 0.1
_BODY_BYTES: Final = 16 * 1024


async def probe(public_url: str, *, nonce: str, expect: str, deadline_s: float) -> None:
    """Return once the gateway behind the URL has answered the nonce.

    Each attempt is a connection of its own, because behind a pooled URL each may
    lead to another notebook. The header keeps ngrok's warning page for browsers
    away (https://ngrok.com/docs/errors/err_ngrok_6024).

    Args:
        public_url: Scheme and host, no path.
        nonce: Fresh for each probe.
        expect: ``proof(secret, nonce)``, as the gateway answers it.
        deadline_s: Longest time over all attempts.

    Raises:
        EndpointRefused, UserMustAct: If ngrok says what no further attempt mends.
        NetworkUnreachable: If nothing answered at the last attempt.
        TunnelFailed: If ngrok said no, or another program answered.
    """
    url = URL(public_url).with_path(_PATH)
    is_ours = url.host in {"127.0.0.1", "localhost", "::1"}
    headers = {PROBE_HEADER: nonce, "ngrok-skip-browser-warning": "1"}
    loop = asyncio.get_running_loop()
    deadline = loop.time() + deadline_s
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True),
        headers=headers,
        trust_env=not is_ours,
    ) as session:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(_is_worth_another),
            stop=stop_after_delay(deadline_s),
            wait=wait_random_exponential(_FIRST_WAIT_S, max=_LONGEST_WAIT_S),
            reraise=True,
        ):
            with attempt:
                left_s = max(_SHORTEST_ATTEMPT_S, deadline - loop.time())
                await _ask(session, url, expect, min(_LONGEST_ATTEMPT_S, left_s))


def _is_worth_another(error: BaseException) -> bool:
    return isinstance(error, AvocadoError) and not error.permanent


async def _ask(
    session: aiohttp.ClientSession, url: URL, expect: str, timeout_s: float
) -> None:
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with session.get(url, allow_redirects=False, timeout=timeout) as response:
            answer = response.headers.get(PROOF_HEADER, "")
            if hmac.compare_digest(answer.encode(), expect.encode()):
                return
            code = response.headers.get("Ngrok-Error-Code", "")
            body = await response.content.read(_BODY_BYTES)
    except (aiohttp.ClientError, OSError) as error:
        raise NetworkUnreachable(
            f"The public URL {url.origin()} does not answer: "
            f"{str(error) or type(error).__name__}.",
            "Check that this machine has internet access; it is tried again by itself.",
        ) from error
    said = f"{code} {body.decode(errors='replace')}"
    if response.status >= 400 and code_of(said) is not None:  # noqa: PLR2004
        raise explain(said)
    raise TunnelFailed(
        f"Another program answers at {url.origin()} (HTTP {response.status}).",
        "End what else uses this ngrok domain, or give another one with --domain.",
    )
