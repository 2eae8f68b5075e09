"""Keep-alive bytes while the engine is silent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import anthropic
import openai
import pytest
from aiohttp import web

from spicy_avocado_magic.config.timeouts import Timeouts
from tests.machine_speed import scaled

from .conftest import KEY, WITH_KEY, Engine, Front, Open, Reply, exchange

IMPATIENT: Final = replace(
    Timeouts(), comment_after_s=0.05, space_after_s=0.05, comment_every_s=0.05
)
LATE_S: Final = 0.2
"""Some signs of life later."""
ASK: Any = [{"role": "user", "content": "hi"}]
CHUNK: Final = {
    "id": "1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "tiny",
    "choices": [{"index": 0, "delta": {"content": "yes"}, "finish_reason": None}],
}
WHOLE: Final = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "tiny",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "yes"},
            "finish_reason": "stop",
        }
    ],
}


class Held:
    """Engine that responds when a test releases it."""

    def __init__(
        self, reply: Callable[[], web.StreamResponse], *, after_s: float | None = None
    ) -> None:
        self.go = asyncio.Event()
        self._reply, self._after_s = reply, after_s

    async def __call__(self, request: web.BaseRequest, _: bytes) -> web.StreamResponse:
        """Wait, then reply."""
        if self._after_s is not None:
            asyncio.get_running_loop().call_later(self._after_s, self.go.set)
        await self.go.wait()
        return self._reply()


def events(*data: object) -> Callable[[], web.StreamResponse]:
    """Return an engine's stream of these events."""
    text = "".join(f"data: {json.dumps(item)}\n\n" for item in data)
    return lambda: web.Response(
        text=text + "data: [DONE]\n\n", content_type="text/event-stream"
    )


def refuses(status: int, error: object) -> Callable[[], web.StreamResponse]:
    """Return an engine's refusal."""
    return lambda: web.json_response({"error": error}, status=status)


def raw(path: str, body: dict[str, object]) -> bytes:
    """Return a request that closes its connection after the response."""
    sent = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n"
        f"Connection: close\r\nContent-Length: {len(sent)}\r\n\r\n"
    )
    return head.encode() + sent


async def _until_a_sign(front: Front, sent: bytes, sign: bytes) -> Any:
    """Send a request; return its streams once two signs of life have come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(sent)
    async with asyncio.timeout(scaled(5)):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        for _ in range(2):
            await reader.readuntil(sign)
    return reader, writer


@pytest.fixture
async def impatient(open_gateway: Open) -> Front:
    """A gateway that gives signs of life at once."""
    return await open_gateway(timeouts=IMPATIENT)


async def test_a_silent_stream_gets_comments_then_the_engines_events(
    impatient: Front, engine: Engine
) -> None:
    """The tunnel stays open through a cold load, and no event is lost."""
    held = engine.reply = Held(events(CHUNK))
    sent = raw("/v1/chat/completions", {"model": "tiny", "stream": True})
    reader, writer = await _until_a_sign(impatient, sent, b": the model is still busy")
    held.go.set()
    rest = await reader.read()
    writer.close()
    assert b'"content": "yes"' in rest, rest
    assert b"HTTP/1.1" not in rest, "a second head came in the middle"
    assert rest.endswith(b"0\r\n\r\n"), "the stream has no proper end"


async def test_a_stock_client_reads_a_stream_that_began_with_comments(
    impatient: Front, engine: Engine
) -> None:
    """Comments are no events."""
    engine.reply = Held(events(CHUNK), after_s=LATE_S)
    url = f"{impatient.url}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="tiny", messages=ASK, stream=True
        )
        received = [chunk.choices[0].delta.content async for chunk in stream]
    assert received == ["yes"]


async def test_a_silent_whole_reply_gets_spaces_before_it(
    impatient: Front, engine: Engine
) -> None:
    """JSON may begin with spaces, so stock clients read it."""
    engine.reply = Held(lambda: web.json_response(WHOLE), after_s=LATE_S)
    url = f"{impatient.url}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        answer = await client.chat.completions.create(model="tiny", messages=ASK)
    assert answer.choices[0].message.content == "yes"
    _, _, body = await impatient.call(
        "POST", "/v1/chat/completions", json={"model": "tiny"}, headers=WITH_KEY
    )
    assert json.loads(body) == WHOLE, "a quick reply was changed"


async def test_a_late_refusal_of_the_engine_is_an_error_event(
    impatient: Front, engine: Engine
) -> None:
    """Once comments were sent the status is 200; the client raises all the same."""
    engine.reply = Held(refuses(500, {"message": "out of memory"}), after_s=LATE_S)
    url = f"{impatient.url}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="tiny", messages=ASK, stream=True
        )
        with pytest.raises(openai.APIError, match="out of memory"):
            _ = [chunk async for chunk in stream]


async def test_anthropics_client_raises_a_late_refusal_too(
    impatient: Front, engine: Engine
) -> None:
    """Its error event has another form."""
    engine.reply = Held(refuses(500, "out of memory"), after_s=LATE_S)
    async with anthropic.AsyncAnthropic(
        base_url=impatient.url, api_key=KEY, max_retries=0
    ) as client:
        stream = await client.messages.create(
            model="tiny", messages=ASK, max_tokens=5, stream=True
        )
        with pytest.raises(anthropic.APIError, match="out of memory"):
            _ = [event async for event in stream]


async def test_the_responses_api_gets_an_error_event_of_its_own(
    impatient: Front, engine: Engine
) -> None:
    """The stock client raises there as well."""
    engine.reply = Held(refuses(500, {"message": "out of memory"}), after_s=LATE_S)
    url = f"{impatient.url}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        stream = await client.responses.create(model="tiny", input="hi", stream=True)
        with pytest.raises(openai.APIError, match="out of memory"):
            _ = [event async for event in stream]


async def test_a_late_refusal_of_a_whole_reply_is_no_answer(
    impatient: Front, engine: Engine
) -> None:
    """Status 200 with an error would look like an answer: the connection is cut."""
    held = engine.reply = Held(refuses(500, {"message": "out of memory"}))
    sent = raw("/v1/chat/completions", {"model": "tiny"})
    reader, writer = await _until_a_sign(impatient, sent, b" ")
    held.go.set()
    rest = await reader.read()
    writer.close()
    assert b"0\r\n\r\n" not in rest, "the cut answer looks whole"


@pytest.mark.parametrize(
    "reply", [events(CHUNK), refuses(500, {"message": "no"})], ids=["stream", "error"]
)
async def test_an_engine_that_speaks_in_time_keeps_its_own_head(
    front: Front, engine: Engine, reply: Callable[[], web.StreamResponse]
) -> None:
    """True status and head, and not one comment."""
    engine.reply = _always(reply)
    sent = raw("/v1/chat/completions", {"model": "tiny", "stream": True})
    answer = await exchange(front.port, sent)
    expected = reply()
    assert answer.startswith(f"HTTP/1.1 {expected.status} ".encode()), answer
    assert b": the model" not in answer


async def test_nothing_is_sent_once_the_engine_has_answered(
    impatient: Front, engine: Engine
) -> None:
    """A sign of life that comes late would stand in the next answer."""
    engine.reply = _always(lambda: web.json_response(WHOLE))
    sent = raw("/v1/chat/completions", {"model": "tiny"})
    reader, writer = await asyncio.open_connection("127.0.0.1", impatient.port)
    writer.write(sent.replace(b"Connection: close\r\n", b""))
    await reader.readuntil(b'"stop"}]}')
    waited = asyncio.create_task(reader.read(1))
    done, _ = await asyncio.wait([waited], timeout=LATE_S)
    assert not done, "something was sent after the response"
    writer.close()
    await waited


async def test_a_client_of_http_1_0_gets_no_signs_of_life(
    impatient: Front, engine: Engine
) -> None:
    """Its answer ends with its connection, so a cut one would look whole."""
    engine.reply = Held(refuses(500, {"message": "no"}), after_s=LATE_S)
    sent = raw("/v1/chat/completions", {"model": "tiny", "stream": True})
    answer = await exchange(impatient.port, sent.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert answer.startswith(b"HTTP/1.0 500 "), answer


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", {"model": "tiny"}),
        ("/api/chat", {"model": "tiny", "stream": True}),
        ("/api/generate", {"model": "tiny", "stream": False}),
    ],
)
async def test_lines_of_json_get_nothing_in_between(
    impatient: Front, engine: Engine, path: str, body: dict[str, object]
) -> None:
    """Clients of the native API parse every line: a blank one is an error."""
    engine.reply = Held(lambda: web.Response(text='{"done":true}\n'), after_s=LATE_S)
    answer = await exchange(impatient.port, raw(path, body))
    assert answer.partition(b"\r\n\r\n")[2] == b'{"done":true}\n', answer


async def test_a_client_that_disconnects_during_keep_alive_ends_the_work(
    impatient: Front, engine: Engine
) -> None:
    """A comment is no promise: the engine is freed at once."""
    engine.reply = Held(events(CHUNK))
    sent = raw("/v1/chat/completions", {"model": "tiny", "stream": True})
    _, writer = await _until_a_sign(impatient, sent, b": the model is still busy")
    writer.close()
    async with asyncio.timeout(scaled(1)):
        await engine.left.wait()


def _always(reply: Callable[[], web.StreamResponse]) -> Reply:
    async def answer(request: web.BaseRequest, _: bytes) -> web.StreamResponse:
        return reply()

    return answer
