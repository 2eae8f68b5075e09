"""The engine's rows."""

from __future__ import annotations

import contextlib
import http.client
import threading
from typing import Final

from tests.machine_speed import scaled

from . import promises, streams
from .callers import Caller, Dialect, Verdict
from .fault import DIVISOR, EXIT_S, HANG_S, Engine, Fault
from .service import Service

_HANG_S: Final = HANG_S / DIVISOR
_WHOLE_S: Final = scaled(8.0)
_NO_MEMORY: Final = (
    "model requires more system memory (8.0 GiB) than is available (5.1 GiB)"
)
_SLOW_DIVISOR: Final = 120.0
"""So six minutes are three seconds."""
_NOT_SO_SHORT: Final = {
    "stalled_s": 60.0,
    "engine_check_timeout_s": 1.0,
    "agent_check_timeout_s": 1.0,
    "agent_proof_s": 2.0,
    "upstream_connect_s": 1.0,
    "body_wait_s": 1.5,
}
"""Waits that have nothing to do with it, and would be too short for a busy machine."""


def _kill_at_each_load(service: Service) -> None:
    service.switch(exit=True)
    service.mark()


def _runner_dies_mid_stream(service: Service) -> None:
    """No stream of ``/v1`` that it leaves half may look whole."""
    for dialect in (Dialect.OPENAI, Dialect.ANTHROPIC):
        with streams.begun(service, dialect) as (first, response):
            service.kill(service.runner)
            body = first
            with contextlib.suppress(http.client.HTTPException, OSError):
                while piece := response.read1():
                    body += piece
                assert b"error" in body[-500:], f"it looks whole: {body[-500:]!r}"
        # The engine refuses for a moment, until it knows that its runner has gone.
        promises.whole_again(service, service.broken_at, _WHOLE_S)


def _cannot_start(service: Service) -> None:
    service.switch(start="Error: could not create the folder of models")
    service.kill(service.engine)


def _no_memory(service: Service) -> None:
    service.switch(load=_NO_MEMORY)
    service.kill(service.engine)


def _server_errors(service: Service) -> None:
    service.switch(status=500, pid=service.engine)
    service.mark()


def _slow_first_token(service: Service) -> None:
    minute_s = scaled(60 / _SLOW_DIVISOR)
    first_token_s, cut_s = 6 * minute_s, 5 * minute_s
    service.switch(first_token_s=first_token_s)
    service.mark()
    caller = _caller(service, Dialect.OPENAI)
    call = caller.call()
    assert call.verdict is Verdict.WHOLE, call.detail
    assert call.ended - call.began >= first_token_s, "the first token was not slow"
    assert call.longest_silence_s < cut_s, (
        f"silent for {call.longest_silence_s:.1f} s: ngrok cuts after {cut_s:.1f} s"
    )


def _eight_users(service: Service) -> None:
    users = [_caller(service, Dialect.NATIVE) for _ in range(8)]
    threads = [threading.Thread(target=user.call) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(scaled(30))
    calls = [call for user in users for call in user.calls]
    assert len(calls) == len(users), "a user still waits"
    assert all(c.verdict is Verdict.WHOLE for c in calls), [c.detail for c in calls]


def _caller(service: Service, dialect: Dialect) -> Caller:
    state = service.state()
    return Caller(
        dialect=dialect,
        is_stream=True,
        model="tiny",
        is_stand_in=service.is_stand_in,
        url=state.url,
        key=state.api_key,
        silence_limit_s=scaled(30.0),
    )


ROWS = (
    Fault(
        name="server-killed",
        area="engine",
        expected="served again; requests are held meanwhile",
        breaks=lambda service: service.kill(service.engine),
        bound_s=8.0,
        part="engine",
        detect_s=EXIT_S,
        engine=Engine.EITHER,
    ),
    Fault(
        name="runner-killed",
        area="engine",
        expected="loaded again by the engine itself",
        breaks=_runner_dies_mid_stream,
        bound_s=8.0,
        note="The engine loads the model again by itself: no component falls.",
        engine=Engine.REAL,
    ),
    Fault(
        name="server-hangs",
        area="engine",
        expected="noticed, killed, served again",
        breaks=lambda service: service.freeze(service.engine),
        bound_s=8.0,
        part="engine",
        detect_s=_HANG_S,
        # By its health check, or by the requests that wait: whichever sees it first.
        user_sees=("It is restarted automatically; requests in progress are lost",),
        engine=Engine.EITHER,
    ),
    Fault(
        name="runner-hangs",
        area="engine",
        expected="noticed though the server answers; served again",
        breaks=lambda service: service.freeze(service.runner),
        bound_s=8.0,
        part="engine",
        detect_s=_HANG_S,
        user_sees=("the process that runs the model is idle",),
        engine=Engine.REAL,
    ),
    Fault(
        name="exits-at-start",
        area="engine",
        expected="backs off, then failed with its last words; up tries again",
        breaks=_cannot_start,
        bound_s=15.0,
        part="engine",
        user_sees=("could not create the folder of models", "%avocado_up"),
        gives_up=True,
        repairs=lambda service: service.switch(),
    ),
    Fault(
        name="dies-at-each-load",
        area="engine",
        expected="backs off, then failed with cause; up tries again",
        breaks=_kill_at_each_load,
        bound_s=20.0,
        part="engine",
        user_sees=("The engine ended by itself (status", "try a smaller model"),
        gives_up=True,
        repairs=lambda service: service.switch(),
    ),
    Fault(
        name="out-of-memory-on-load",
        area="engine",
        expected="shown with the sizes, failed; up tries again",
        breaks=_no_memory,
        bound_s=15.0,
        part="models",
        user_sees=("it needs 8.6 GB, and 5.5 GB is free", "Choose a smaller model"),
        gives_up=True,
        repairs=lambda service: service.switch(),
    ),
    Fault(
        name="answers-500-to-all",
        area="engine",
        expected="taken for hung, served again",
        breaks=_server_errors,
        bound_s=8.0,
        part="engine",
        detect_s=_HANG_S,
    ),
    Fault(
        name="first-token-after-6-minutes",
        area="engine",
        expected="waited for; streams of events stay open",
        breaks=_slow_first_token,
        bound_s=10.0,
        repairs=lambda service: service.switch(),
        divisor=_SLOW_DIVISOR,
        timeouts=_NOT_SO_SHORT,
        keeps_all=True,
        note=(
            "Lines of JSON (/api, streamed) have nothing that may come before the "
            "first token: ngrok cuts those after five silent minutes."
        ),
    ),
    Fault(
        name="eight-users-one-slot",
        area="engine",
        expected="all answered; a busy engine is not restarted",
        breaks=_eight_users,
        bound_s=8.0,
        keeps_all=True,
        variables={"AVOCADO_REHEARSAL_TOKEN_S": "0.05"},
        engine=Engine.EITHER,
    ),
)
