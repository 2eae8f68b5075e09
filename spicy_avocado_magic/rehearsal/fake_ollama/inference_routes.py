"""The stand-in engine's endpoints that use a model, in every dialect."""

from __future__ import annotations

import asyncio
import base64
import struct
import sys
from typing import Any

from aiohttp import web

from .dialects import Dialect, JsonObject, NativeChat, NativeGenerate, prompt_texts
from .dialects_v1 import AnthropicMessage, OpenAIChat, OpenAICompletion, OpenAIResponse
from .middleware import ApiError, read_body
from .model_routes import model_of
from .runner import GeneratedReply, Runner, echo_reply, embedding
from .store import Store, StoredModel

_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")


class InferenceEndpoints:
    """Endpoints for replies and embeddings."""

    def __init__(self, store: Store, runner: Runner) -> None:
        self._store = store
        self._runner = runner

    def routes(self) -> list[web.RouteDef]:
        """Return the endpoints."""
        return [
            web.post("/api/generate", self._generate),
            web.post("/api/chat", self._chat),
            web.post("/api/embed", self._embed),
            web.post("/api/embeddings", self._embed_one),
            web.post("/v1/chat/completions", self._v1_chat),
            web.post("/v1/completions", self._v1_completion),
            web.post("/v1/messages", self._v1_message),
            web.post("/v1/responses", self._v1_response),
            web.post("/v1/embeddings", self._v1_embeddings),
        ]

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request)
        return await self._native(request, body, body.get("prompt"), NativeGenerate)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request)
        if not model_of(body):
            raise ApiError(400, "model is required")
        return await self._native(request, body, _last(body), NativeChat)

    async def _native(
        self,
        request: web.Request,
        body: JsonObject,
        prompt: Any,
        dialect: type[NativeGenerate],
    ) -> web.StreamResponse:
        model = self._find(body, "model '{}' not found")
        options = body.get("options") or {}
        keep_alive = body.get("keep_alive")
        self._runner.load(model, keep_alive=keep_alive, context=options.get("num_ctx"))
        is_loaded = model in [loaded.model for loaded in self._runner.loaded()]
        text = "\n".join(prompt_texts(prompt))
        if not text:
            reason = "load" if is_loaded else "unload"
            reply = GeneratedReply(
                model=model_of(body), prompt_tokens=0, words=(), reason=reason
            )
            return web.json_response(dialect(reply).whole())
        reply = echo_reply(model_of(body), text, options.get("num_predict"))
        is_streamed = body.get("stream") is not False
        return await self._answer(request, dialect(reply), is_streamed=is_streamed)

    async def _v1_chat(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request)
        if not body.get("messages"):
            raise ApiError(400, "[] is too short - 'messages'")
        return await self._v1(request, body, _last(body), OpenAIChat)

    async def _v1_completion(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request)
        return await self._v1(request, body, body.get("prompt"), OpenAICompletion)

    async def _v1_message(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request)
        if not model_of(body):
            raise ApiError(400, "model is required")
        if not body.get("messages"):
            raise ApiError(400, "messages is required")
        return await self._v1(request, body, _last(body), AnthropicMessage)

    async def _v1_response(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request)
        if not model_of(body):
            raise ApiError(400, "model is required")
        return await self._v1(request, body, body.get("input"), OpenAIResponse)

    async def _v1(
        self,
        request: web.Request,
        body: JsonObject,
        prompt: Any,
        dialect: type[Dialect],
    ) -> web.StreamResponse:
        self._runner.load(self._find(body, "model '{}' not found"))
        limit = next((body[key] for key in _LIMITS if body.get(key)), None)
        reply = echo_reply(model_of(body), "\n".join(prompt_texts(prompt)), limit)
        with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        is_streamed = body.get("stream") is True
        response = dialect(reply, with_usage=with_usage)
        return await self._answer(request, response, is_streamed=is_streamed)

    async def _answer(
        self, request: web.Request, dialect: Dialect, *, is_streamed: bool
    ) -> web.StreamResponse:
        try:
            if is_streamed:
                return await self._stream(request, dialect)
            async for _word in self._runner.stream(dialect.reply):
                pass
            return web.json_response(dialect.whole())
        except (asyncio.CancelledError, ConnectionError):
            sys.stderr.write(f'level=INFO msg="client gone" path={request.path}\n')
            sys.stderr.flush()
            raise

    async def _stream(
        self, request: web.Request, dialect: Dialect
    ) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_type = dialect.media
        async for word in self._runner.stream(dialect.reply):
            if not response.prepared:
                await response.prepare(request)
                await response.write(dialect.begin())
            await response.write(dialect.piece(word))
        await response.write(dialect.end())
        await response.write_eof()
        return response

    async def _embed(self, request: web.Request) -> web.Response:
        body = await read_body(request)
        texts = self._texts(body, body.get("input"))
        return web.json_response(
            {
                "model": model_of(body),
                "embeddings": [embedding(text) for text in texts],
                "total_duration": 10**6,
                "load_duration": 10**6,
                "prompt_eval_count": _count(texts),
            }
        )

    async def _embed_one(self, request: web.Request) -> web.Response:
        body = await read_body(request)
        if not model_of(body):
            raise ApiError(400, "model is required")
        texts = self._texts(body, body.get("prompt"))
        return web.json_response({"embedding": embedding("\n".join(texts))})

    async def _v1_embeddings(self, request: web.Request) -> web.Response:
        body = await read_body(request)
        if not body.get("input"):
            raise ApiError(400, "invalid input")
        texts = self._texts(body, body["input"])
        is_packed = body.get("encoding_format") == "base64"
        entries = [
            {
                "object": "embedding",
                "index": index,
                "embedding": _packed(embedding(text)) if is_packed else embedding(text),
            }
            for index, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": _count(texts), "total_tokens": _count(texts)}
        return web.json_response(
            {"object": "list", "data": entries, "model": model_of(body), "usage": usage}
        )

    def _texts(self, body: JsonObject, given: Any) -> list[str]:
        model = self._find(body, 'model "{}" not found, try pulling it first')
        self._runner.load(model, keep_alive=body.get("keep_alive"))
        return list(prompt_texts(given))

    def _find(self, body: JsonObject, refusal: str) -> StoredModel:
        model = self._store.find(model_of(body))
        if model is None:
            raise ApiError(404, refusal.format(model_of(body)))
        return model


def _last(body: JsonObject) -> Any:
    """Return the last message of a conversation."""
    return (body.get("messages") or [None])[-1]


def _count(texts: list[str]) -> int:
    return sum(len(text.split()) for text in texts)


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
