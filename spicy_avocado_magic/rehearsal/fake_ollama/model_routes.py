"""The stand-in engine's endpoints about models: list, show, pull, copy, delete."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final

from aiohttp import web

from ...config.model_name import ModelName
from ...errors import UsageError
from ..fake_downloads.tiny_gguf import CONTEXT_TOKENS, EMBEDDING
from .dialects import JsonObject
from .middleware import ApiError, read_body
from .pull import PullFailed, pull
from .runner import Runner
from .store import Store, StoredModel

_CAPABILITIES: Final = ["completion"]


class ModelEndpoints:
    """Endpoints for stored and loaded models."""

    def __init__(self, store: Store, runner: Runner) -> None:
        self._store = store
        self._runner = runner

    def routes(self) -> list[web.RouteDef]:
        """Return the endpoints."""
        return [
            web.get("/api/tags", self._list),
            web.get("/api/ps", self._list_loaded),
            web.post("/api/show", self._show),
            web.post("/api/pull", self._pull),
            web.post("/api/create", self._create),
            web.post("/api/copy", self._copy),
            web.delete("/api/delete", self._delete),
            web.get("/v1/models", self._v1_list),
            web.get("/v1/models/{model:.+}", self._v1_show),
        ]

    async def _list(self, _request: web.Request) -> web.Response:
        entries = [
            _entry(model)
            | {"modified_at": model.modified_at, "capabilities": _CAPABILITIES}
            for model in self._store.all()
        ]
        return web.json_response({"models": entries})

    async def _list_loaded(self, _request: web.Request) -> web.Response:
        entries = [
            _entry(loaded.model)
            | {
                "size_vram": 0,
                "expires_at": loaded.expires_at,
                "context_length": loaded.context_tokens,
            }
            for loaded in self._runner.loaded()
        ]
        return web.json_response({"models": entries})

    async def _show(self, request: web.Request) -> web.Response:
        body = await read_body(request)
        model = self._find(model_of(body), "model '{}' not found", is_short=True)
        return web.json_response(
            {
                "modelfile": f"FROM {model.weights_path}\n",
                "parameters": "num_predict                    64",
                "template": "{{ .Prompt }}",
                "details": model.details,
                "model_info": {
                    "general.architecture": "llama",
                    "llama.context_length": CONTEXT_TOKENS,
                    "llama.embedding_length": EMBEDDING,
                },
                "capabilities": _CAPABILITIES,
                "modified_at": model.modified_at,
            }
        )

    async def _pull(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request)
        try:
            name = ModelName.parse(model_of(body))
        except UsageError as error:
            raise ApiError(400, "invalid model name") from error
        lines = pull(self._store, name, insecure=bool(body.get("insecure")))
        if body.get("stream") is False:
            return await _last_of(lines)
        response = web.StreamResponse()
        response.content_type = "application/x-ndjson"
        await response.prepare(request)
        try:
            async for line in lines:
                await response.write(json.dumps(line).encode() + b"\n")
        except PullFailed as error:
            await response.write(json.dumps({"error": str(error)}).encode() + b"\n")
        await response.write_eof()
        return response

    async def _create(self, request: web.Request) -> web.Response:
        """Copy a model under another name; the rest of a Modelfile changes no echo."""
        body = await read_body(request)
        try:
            name = ModelName.parse(model_of(body))
        except UsageError as error:
            raise ApiError(400, "invalid model name") from error
        base = self._store.find(str(body.get("from", "")))
        if base is None:
            # A real server would pull it from a registry; a rehearsal reaches none.
            events = [{"error": "pull model manifest: file does not exist"}]
        else:
            self._store.copy(base, name)
            events = [{"status": "writing manifest"}, {"status": "success"}]
        lines = "".join(f"{json.dumps(event)}\n" for event in events)
        return web.Response(text=lines, content_type="application/x-ndjson")

    async def _copy(self, request: web.Request) -> web.Response:
        body = await read_body(request)
        names = {}
        for key in ("source", "destination"):
            text = str(body.get(key, ""))
            try:
                names[key] = ModelName.parse(text)
            except UsageError as error:
                raise ApiError(400, f'{key} "{text}" is invalid') from error
        model = self._find(str(body["source"]), 'model "{}" not found')
        self._store.copy(model, names["destination"])
        return web.Response()

    async def _delete(self, request: web.Request) -> web.Response:
        body = await read_body(request)
        model = self._find(model_of(body), "model '{}' not found")
        self._store.delete(model)
        self._runner.load(model, keep_alive=0)
        return web.Response()

    async def _v1_list(self, _request: web.Request) -> web.Response:
        # A real server answers null when there are none.
        entries = [_v1_entry(model) for model in self._store.all()] or None
        return web.json_response({"object": "list", "data": entries})

    async def _v1_show(self, request: web.Request) -> web.Response:
        name = request.match_info["model"]
        return web.json_response(
            _v1_entry(self._find(name, "model '{}' not found", is_short=True))
        )

    def _find(self, text: str, message: str, *, is_short: bool = False) -> StoredModel:
        if not text:
            raise ApiError(400, "model is required")
        model = self._store.find(text)
        if model is None:
            shown = ModelName.parse(text).short if is_short else text
            raise ApiError(404, message.format(shown))
        return model


def model_of(body: JsonObject) -> str:
    """Return the model that a request names, by ``model`` or the older ``name``."""
    return str(body.get("model") or body.get("name") or "")


async def _last_of(lines: AsyncIterator[JsonObject]) -> web.Response:
    last: JsonObject = {}
    try:
        async for line in lines:
            last = line
    except PullFailed as error:
        raise ApiError(500, str(error)) from error
    return web.json_response(last)


def _entry(model: StoredModel) -> dict[str, Any]:
    return {
        "name": model.name.short,
        "model": model.name.short,
        "size": model.size_bytes,
        "digest": model.digest,
        "details": model.details,
    }


def _v1_entry(model: StoredModel) -> dict[str, Any]:
    return {
        "id": model.name.short,
        "object": "model",
        "created": model.modified_s,
        "owned_by": model.name.namespace,
    }
