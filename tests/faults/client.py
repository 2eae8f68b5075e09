"""The clients' rows: what programs at the public URL do, by mistake or on purpose."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from typing import Any, Final
from urllib.parse import urlsplit

import psutil

from tests.machine_speed import scaled

from . import streams
from .callers import Caller, Dialect, Verdict
from .fault import DIVISOR, Fault
from .kernels import wait_until
from .service import Service

_CALLERS: Final = 2 * len(Dialect)
_LEFT_S: Final = scaled(2.0)
"""In which the work for a client that has left ends."""
_RETRIES: Final = 100
_LOAD_S: Final = 4.0
"""Before the first word: longer than a client waits."""
_STREAMS: Final = 512
_SILENT: Final = 300
_ARRIVAL_S: Final = 3.0
"""In which all of them come."""
_SHORT: Final = {"head_wait_s": 2.0, "body_wait_s": 6.0}
_SECOND_S: Final = 1.0 / DIVISOR
_MANY_SLOTS: Final = {"engine_env": (("OLLAMA_NUM_PARALLEL", "64"),)}
_SLOW: Final = {"AVOCADO_REHEARSAL_TOKEN_S": "0.005"}


def _leave_mid_stream(service: Service) -> None:
    """Hear the first words in each dialect, and leave; they would go on for 10 s."""
    for dialect in Dialect:
        left = _left_so_far(service)
        with streams.begun(service, dialect) as (first, _):
            assert first, "nothing came"
        wait_until(
            lambda left=left: _left_so_far(service) > left,  # type: ignore[misc]
            "the engine goes on for a client that has gone",
            within_s=_LEFT_S,
        )
        _wait_let_go(service)


def _retry(service: Service) -> None:
    """Give up before the first word and ask the same again, and so on."""
    service.switch(first_token_s=_LOAD_S)
    for _ in range(_RETRIES):
        with streams.asked(service, Dialect.OPENAI):
            pass
    _wait_let_go(service)
    service.switch()


def _left_so_far(service: Service) -> int:
    """Return for how many clients that had left the engine has stopped."""
    return service.folder.log("engine").read_text().count("client gone")


def _wait_let_go(service: Service) -> None:
    wait_until(
        lambda: service.state().traffic.in_flight <= _CALLERS,
        "the gateway goes on for a client that has gone",
        within_s=_LEFT_S,
    )


def _half_a_body(service: Service) -> None:
    """One client leaves after half of its body, one falls silent."""
    body = _body()
    for is_silent in (False, True):
        half = _open_request(service, len(body))
        half.sendall(body[: len(body) // 2])
        if is_silent:
            response = http.client.HTTPResponse(half)
            response.begin()
            payload = json.loads(response.read())
            assert response.status == 408, f"{response.status}: {payload}"
            assert Dialect.OPENAI.error(payload), (
                f"not an error of its dialect: {payload}"
            )
            response.close()
        half.close()
    _wait_let_go(service)


def _drip(service: Service) -> None:
    """Eight users send a byte a second: all are answered, and slow nobody."""
    body = _body()
    users = [_open_request(service, len(body)) for _ in range(8)]
    head = _dripped_head(service)
    for at in range(len(body)):
        for user in users:
            user.sendall(body[at : at + 1])
        time.sleep(_SECOND_S)
    for user in users:
        response = http.client.HTTPResponse(user)
        response.begin()
        payload = json.loads(response.read())
        assert Dialect.OPENAI.is_end(payload), f"not answered: {payload}"
        response.close()
        user.close()
    assert head.wait(scaled(5.0)), "a head may come for ever, a byte a second"


def _dripped_head(service: Service) -> threading.Event:
    """Send a head to the gateway itself, a byte a second, until it hangs up."""
    near = _socket_to(service.state().local_url)
    hung_up = threading.Event()

    def drip() -> None:
        with near:
            try:
                for byte in b"GET / HTTP/1.1\r\nX: " + b"y" * 2000:
                    near.sendall(bytes((byte,)))
                    time.sleep(_SECOND_S)
            except OSError:
                hung_up.set()

    threading.Thread(target=drip, daemon=True).start()
    return hung_up


def _say_nothing(service: Service) -> None:
    """Open many connections to the URL and to the gateway, and send nothing."""
    host = psutil.Process(service.host)
    before = host.num_fds()
    state = service.state()
    both = (state.url, state.local_url)
    silent = [_socket_to(url) for url in both for _ in range(_SILENT)]
    wait_until(
        lambda: host.num_fds() <= before + 2 * _CALLERS,
        "silent connections stay open at the gateway",
        within_s=service.timeouts.head_wait_s + scaled(2.0),
    )
    for connection in silent:
        connection.close()


def _stream_512(service: Service) -> None:
    """As many streams as the gateway has places; the others get 429."""
    state = service.state()
    users = [
        Caller(
            dialect=dialect,
            is_stream=True,
            model="tiny",
            is_stand_in=service.is_stand_in,
            url=state.url,
            key=state.api_key,
            silence_limit_s=scaled(30.0),
        )
        for dialect, _ in zip(list(Dialect) * _STREAMS, range(_STREAMS), strict=False)
    ]
    service.switch(first_token_s=_ARRIVAL_S)  # so that none ends before the last comes
    threads = [threading.Thread(target=user.call, daemon=True) for user in users]
    for thread in threads:
        thread.start()
        time.sleep(_ARRIVAL_S / _STREAMS)
    most = service.state().traffic.in_flight
    service.switch()
    for thread in threads:
        thread.join(scaled(40.0))
    calls = [call for user in users for call in user.calls]
    assert len(calls) == _STREAMS, "a stream still waits"
    refused = [call for call in calls if call.verdict is Verdict.CLEAR_ERROR]
    others = [c for c in calls if c.verdict not in {Verdict.WHOLE, Verdict.CLEAR_ERROR}]
    assert not others, f"{len(others)} streams, such as: {others[0].detail}"
    assert most > _STREAMS // 2, f"only {most} at once"
    assert len(refused) <= 2 * _CALLERS, f"{len(refused)} of {_STREAMS} were refused"


def _body() -> bytes:
    return json.dumps(Dialect.OPENAI.body("tiny", "Hi", is_stream=False)).encode()


def _open_request(service: Service, length: int) -> socket.socket:
    """Send the head of a request without its body."""
    url = service.state().url
    connection = _socket_to(url)
    headers = streams.head(service) | {
        "Host": urlsplit(url).netloc,
        "Content-Length": str(length),
    }
    lines = [f"POST {Dialect.OPENAI.value} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    return connection


def _socket_to(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((address.hostname or "", address.port or 0), 10)


def _row(name: str, expected: str, seen: str, **more: Any) -> Fault:
    row: dict[str, Any] = {
        "bound_s": 8.0,
        "keeps_all": True,
        "variables": _SLOW,
        "options": _MANY_SLOTS,
    } | more
    return Fault(name=name, area="client", expected=expected, seen=seen, **row)


ROWS = (
    _row(
        "leaves-mid-stream",
        "the engine stops at once, left alone",
        "the engine's work ended, left alone",
        breaks=_leave_mid_stream,
    ),
    _row(
        "half-a-body",
        "408 after its time-out, left alone",
        "answered 408; let go, left alone",
        breaks=_half_a_body,
    ),
    _row(
        "one-byte-a-second",
        "answered, and slows nobody",
        "answered; a head that drips is hung up on",
        breaks=_drip,
        timeouts=_SHORT,
    ),
    _row(
        "silent-connections",
        "hung up on, left alone",
        "300 hung up on, left alone",
        breaks=_say_nothing,
        timeouts=_SHORT,
        note="Those to the public URL are ngrok's: they never reach the gateway.",
    ),
    _row(
        "512-streams-at-once",
        "answered, or refused with 429",
        "answered but for those beyond its places (429)",
        breaks=_stream_512,
        keeps_all=False,
        is_heavy=True,
        variables={"AVOCADO_REHEARSAL_TOKEN_S": "0.01"},
        bound_s=30.0,
    ),
    _row(
        "retried-100-times",
        "each try's work ends, left alone",
        "let go 100 times, left alone",
        breaks=_retry,
    ),
)
