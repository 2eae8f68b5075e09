"""Stock clients, configured with URL and key alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import ollama
import openai
import pytest
from aiohttp import web

from tests.machine_speed import scaled

from .conftest import KEY, Engine, Front, Open, bounds

ASK: Any = [{"role": "user", "content": "hi"}]
WORDS = ("spicy ", "avocado ", "magic")


def _completion(part: dict[str, Any], kind: str) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", **part}
    return {
        "id": "c",
        "object": kind,
        "created": 1,
        "model": "tiny",
        "choices": [choice],
    }


async def _stream(
    request: web.BaseRequest, kind: str, lines: list[str]
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": kind})
    await response.prepare(request)
    for line in lines:
        await response.write(line.encode())
    return response


async def _openai_chat(request: web.BaseRequest, asked: Any) -> web.StreamResponse:
    if not asked.get("stream"):
        message = {"role": "assistant", "content": "".join(WORDS)}
        return web.json_response(_completion({"message": message}, "chat.completion"))
    parts = [
        _completion({"delta": {"content": word}}, "chat.completion.chunk")
        for word in WORDS
    ]
    lines = [f"data: {json.dumps(part)}\n\n" for part in parts]
    return await _stream(request, "text/event-stream", [*lines, "data: [DONE]\n\n"])


async def _native_chat(request: web.BaseRequest, asked: Any) -> web.StreamResponse:
    words = WORDS if asked.get("stream") else ("".join(WORDS),)
    replies = [
        {
            "model": "tiny",
            "message": {"role": "assistant", "content": word},
            "done": True,
        }
        for word in words
    ]
    lines = [json.dumps(reply) + "\n" for reply in replies]
    return await _stream(request, "application/x-ndjson", lines)


async def _message(request: web.BaseRequest, asked: Any) -> web.StreamResponse:
    message: dict[str, Any] = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "tiny",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    if not asked.get("stream"):
        block = {"type": "text", "text": "".join(WORDS)}
        return web.json_response({**message, "content": [block]})
    empty = {"type": "text", "text": ""}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": empty},
        *(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": word},
            }
            for word in WORDS
        ),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_stop"},
    ]
    lines = [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events]
    return await _stream(request, "text/event-stream", lines)


CALLS = {
    "/v1/chat/completions": _openai_chat,
    "/v1/messages": _message,
    "/api/chat": _native_chat,
}


@pytest.fixture
def speaking(engine: Engine) -> Engine:
    """An engine that answers chats and listings in every dialect."""

    async def reply(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        if request.path in CALLS:
            return await CALLS[request.path](request, json.loads(body))
        model = {"id": "tiny:latest", "object": "model", "created": 1, "owned_by": "x"}
        if request.path == "/v1/models":
            return web.json_response({"object": "list", "data": [model]})
        if request.path.startswith("/v1/models/"):
            return web.json_response(model)
        if request.path == "/api/show":
            return web.json_response({"details": {}, "model_info": {}})
        if request.path == "/v1/embeddings":
            entry = {"object": "embedding", "index": 0, "embedding": [0.5]}
            return web.json_response(
                {
                    "object": "list",
                    "data": [entry],
                    "model": "tiny",
                    "usage": {"prompt_tokens": 1, "total_tokens": 1},
                }
            )
        return web.json_response({"models": [{"name": "tiny:latest", "model": "tiny"}]})

    engine.reply = reply
    return engine


@asynccontextmanager
async def _openai(front: Front, key: str = KEY) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{front.url}/v1", api_key=key, max_retries=0
    ) as client:
        yield client


@asynccontextmanager
async def _anthropic(
    front: Front, key: str | None = KEY, token: str | None = None
) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=front.url, max_retries=0, api_key=key, auth_token=token
    ) as client:
        yield client


@asynccontextmanager
async def _ollama(front: Front, key: str = KEY) -> AsyncIterator[ollama.AsyncClient]:
    client = ollama.AsyncClient(
        host=front.url, headers={"Authorization": f"Bearer {key}"}
    )
    try:
        yield client
    finally:
        await client._client.aclose()


async def test_openai_chats_streams_lists_and_embeds(
    front: Front, speaking: Engine
) -> None:
    """The client of most programs works with URL and key alone."""
    async with _openai(front) as client:
        whole = await client.chat.completions.create(model="tiny", messages=ASK)
        assert whole.choices[0].message.content == "".join(WORDS)
        stream = await client.chat.completions.create(
            model="tiny", messages=ASK, stream=True
        )
        words = [chunk.choices[0].delta.content async for chunk in stream]
        assert tuple(words) == WORDS, "the stream differs"
        assert [model.id async for model in client.models.list()] == ["tiny:latest"]
        assert (await client.models.retrieve("tiny:latest")).id == "tiny:latest"
        vector = await client.embeddings.create(
            model="tiny", input="x", encoding_format="float"
        )
        assert vector.data[0].embedding == [0.5]


async def test_openai_raises_its_own_errors(front: Front, speaking: Engine) -> None:
    """Wrong key, unknown model, bad body and loading each have their type."""
    async with _openai(front, key="wrong-key") as client:
        with pytest.raises(openai.AuthenticationError, match="key is wrong"):
            await client.models.list()
    async with _openai(front) as client:
        with pytest.raises(openai.NotFoundError, match="tiny:latest") as missing:
            await client.chat.completions.create(model="other", messages=ASK)
        assert missing.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError, match="same key twice"):
            await client.chat.completions.create(
                model="tiny", messages=ASK, extra_body={"MODEL": "other"}
            )
        front.gateway.limits = bounds(hold_wait_s=0.05)
        front.gateway.set_upstream(None)
        with pytest.raises(openai.InternalServerError, match="still loading"):
            await client.chat.completions.create(model="tiny", messages=ASK)


async def test_anthropic_sends_and_streams_messages(
    front: Front, speaking: Engine
) -> None:
    """Both of its ways to send a key are understood."""
    for key, token in ((KEY, None), (None, KEY)):
        async with _anthropic(front, key, token) as client:
            whole = await client.messages.create(
                model="tiny", max_tokens=9, messages=ASK
            )
            assert whole.content[0].model_dump()["text"] == "".join(WORDS)
            async with client.messages.stream(
                model="tiny", max_tokens=9, messages=ASK
            ) as stream:
                assert [text async for text in stream.text_stream] == list(WORDS)


async def test_anthropic_raises_its_own_errors(front: Front, speaking: Engine) -> None:
    """Wrong key, unknown model and loading each have their type."""
    async with _anthropic(front, "wrong-key") as client:
        with pytest.raises(anthropic.AuthenticationError, match="key is wrong"):
            await client.messages.create(model="tiny", max_tokens=9, messages=ASK)
    async with _anthropic(front) as client:
        with pytest.raises(anthropic.NotFoundError, match="tiny:latest"):
            await client.messages.create(model="other", max_tokens=9, messages=ASK)
        front.gateway.limits = bounds(hold_wait_s=0.05)
        front.gateway.set_upstream(None)
        with pytest.raises(anthropic.InternalServerError, match="still loading"):
            await client.messages.create(model="tiny", max_tokens=9, messages=ASK)


async def test_ollama_chats_streams_lists_and_shows(
    front: Front, speaking: Engine
) -> None:
    """Ollama's own Python client works with URL and key alone."""
    async with _ollama(front) as client:
        whole = await client.chat(model="tiny", messages=ASK)
        assert whole.message.content == "".join(WORDS)
        stream = await client.chat(model="tiny", messages=ASK, stream=True)
        assert tuple([part.message.content async for part in stream]) == WORDS
        assert len((await client.list()).models) == 1
        assert len((await client.ps()).models) == 1
        await client.show("tiny")


async def test_ollama_raises_its_own_errors(front: Front, speaking: Engine) -> None:
    """Its error has the status and message of the response."""
    async with _ollama(front, key="wrong-key") as client:
        with pytest.raises(ollama.ResponseError, match="key is wrong") as wrong:
            await client.list()
        assert wrong.value.status_code == 401
    async with _ollama(front) as client:
        with pytest.raises(ollama.ResponseError, match="tiny:latest") as missing:
            await client.chat(model="other", messages=ASK)
        assert missing.value.status_code == 404
        with pytest.raises(ollama.ResponseError, match="does not exist here"):
            await client.pull("other")


async def test_a_client_that_stops_reading_a_stream_frees_the_engine(
    front: Front, engine: Engine
) -> None:
    """Leaving the loop of a stream is leaving the server."""

    async def endless(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        part = _completion({"delta": {"content": "word"}}, "chat.completion.chunk")
        await response.write(f"data: {json.dumps(part)}\n\n".encode())
        await asyncio.Event().wait()
        return response

    engine.reply = endless
    async with _openai(front) as client:
        stream = await client.chat.completions.create(
            model="tiny", messages=ASK, stream=True
        )
        async for _ in stream:
            break
        await stream.close()
        async with asyncio.timeout(scaled(1)):
            await engine.left.wait()


async def test_ollama_works_with_the_key_in_its_path(
    open_gateway: Open, speaking: Engine
) -> None:
    """Where a client sends no key header, the URL may hold the key."""
    front = await open_gateway(path_key=True)
    client = ollama.AsyncClient(host=f"{front.url}/{KEY}")
    whole = await client.chat(model="tiny", messages=ASK)
    assert whole.message.content == "".join(WORDS)
    await client._client.aclose()
