"""Bodies that break off or stall, and clients that disconnect."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol

from spicy_avocado_magic.gateway.admission import AdmissionQueue, MemoryReservation
from spicy_avocado_magic.gateway.error_responses import ErrorResponse
from spicy_avocado_magic.gateway.request_body import read_body

from .conftest import bounds


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (web.RequestPayloadError, ErrorResponse),
        (RuntimeError("Connection closed."), ConnectionError),
        (TimeoutError, ErrorResponse),
    ],
)
async def test_errors_of_aiohttp_become_error_responses(
    raised: Exception, expected: type[Exception]
) -> None:
    """Broken framing is the client's fault, and a client that has left gets nothing."""

    async def broken() -> bytes:
        raise raised

    content = SimpleNamespace(readany=broken, is_eof=lambda: False)
    request = SimpleNamespace(content_length=None, content=content)
    hold = MemoryReservation(AdmissionQueue(bounds()))
    with pytest.raises(expected) as caught:
        await read_body(cast("web.BaseRequest", request), bounds(), hold)
    if isinstance(caught.value, ErrorResponse):
        stalled = isinstance(raised, type) and issubclass(raised, TimeoutError)
        assert caught.value.status == (408 if stalled else 400)


async def test_a_body_that_broke_with_its_last_byte_is_not_taken_for_whole() -> None:
    """What is there is looked at first, since it needs no wait."""
    content = StreamReader(BaseProtocol(asyncio.get_running_loop()), 2**16)
    content.feed_data(b"half of it")
    content.feed_eof()
    content.set_exception(web.RequestPayloadError())
    request = SimpleNamespace(content_length=None, content=content)
    with pytest.raises(ErrorResponse) as caught:
        await read_body(
            cast("web.BaseRequest", request),
            bounds(),
            MemoryReservation(AdmissionQueue(bounds())),
        )
    assert caught.value.status == 400
