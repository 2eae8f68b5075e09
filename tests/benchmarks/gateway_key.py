"""The key check that every proxy must make before its speed counts."""

from __future__ import annotations

import http.client
from typing import Final

from .gateway_wire import chat_body

_LEAST_REFUSAL: Final = 400
"""Not 401 alone: LiteLLM without a database answers a key it does not know with 500."""


def check_key(port: int, key: str, engine_port: int) -> None:
    """See that of all who ask at a port, only the right key reaches the engine.

    Raises:
        PermissionError: If anything else does, or the key does not.
    """
    wrong = f"Bearer {key[:-1]}{'x' if key[-1] != 'x' else 'y'}"
    for credentials in (None, wrong, "Bearer", f"{wrong}x"):
        before = engine_counts(engine_port)[1]
        status = status_of(port, credentials)
        reached = engine_counts(engine_port)[1] - before
        if status < _LEAST_REFUSAL or reached:
            raise PermissionError(f"a request without a key was answered ({status})")
    if status_of(port, f"Bearer {key}") != 200:
        raise PermissionError("the right key is refused")


def status_of(port: int, authorization: str | None) -> int:
    """Return the status of one short chat with these credentials."""
    headers = {"Content-Type": "application/json"}
    if authorization is not None:
        headers["Authorization"] = authorization
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        body = chat_body(chunks=0, rate=1)
        connection.request("POST", "/v1/chat/completions", body, headers)
        with connection.getresponse() as answer:
            return answer.status
    finally:
        connection.close()


def engine_counts(port: int) -> tuple[int, int]:
    """Return how many streams the engine stand-in runs, and its requests so far."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/running")
        running, requests = connection.getresponse().read().split(b",")
        return int(running), int(requests)
    finally:
        connection.close()
