"""Long streams through the public URL, for rows that break one in its middle."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from tests.machine_speed import scaled

from .callers import Dialect
from .service import Service

_WORDS: Final = 2000
_RETRYABLE: Final = (502, 503)
_RETRIED_S: Final = scaled(5.0)


@contextlib.contextmanager
def begun(
    service: Service, dialect: Dialect
) -> Iterator[tuple[bytes, http.client.HTTPResponse]]:
    """Ask for a long stream; yield its first bytes, and the rest to be read or left."""
    deadline = time.monotonic() + _RETRIED_S
    while True:
        with asked(service, dialect) as connection:
            response = connection.getresponse()
            if response.status in _RETRYABLE and time.monotonic() < deadline:
                continue  # a client tries again, as the status asks it to
            assert response.status == 200, f"{response.status}: {response.read(200)!r}"
            try:
                yield response.read1(), response
            finally:
                response.close()
            return


@contextlib.contextmanager
def asked(service: Service, dialect: Dialect) -> Iterator[http.client.HTTPConnection]:
    """Ask for a long stream, and hear nothing of it yet."""
    state = service.state()
    address = urlsplit(state.url)
    with contextlib.closing(
        http.client.HTTPConnection(
            address.hostname or "", address.port, timeout=scaled(10)
        )
    ) as connection:
        body = json.dumps(_long(dialect))
        connection.request("POST", dialect.value, body, head(service))
        yield connection


def head(service: Service) -> dict[str, str]:
    """Return the headers of a request with the owner's key."""
    key = service.state().api_key
    return {"Content-Type": "application/json", "x-api-key": key}


def _long(dialect: Dialect) -> dict[str, Any]:
    body = dialect.body("tiny", "avocado " * _WORDS, is_stream=True)
    if "options" in body:
        body["options"]["num_predict"] = _WORDS
    else:
        body["max_tokens"] = _WORDS
    return body
