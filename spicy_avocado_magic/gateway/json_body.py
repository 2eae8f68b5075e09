"""JSON request bodies: parsed once, checked, and serialised again.

The engine is written in Go. Its JSON decoder ignores the case of keys and takes the
last one: ``{"model":"a","MODEL":"b"}`` runs *b*. So the engine receives what was
checked here, not the client's bytes.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any, Final

from ..config.model_name import DEFAULT_HOST, ModelName
from ..errors import UsageError
from ..system.redaction import strip_control_chars
from .error_responses import ErrorResponse
from .model_allowlist import MAX_ECHO_CHARS, ModelAllowlist, is_cloud
from .routes import BodyKind

REGISTRIES: Final = frozenset({DEFAULT_HOST, "hf.co", "huggingface.co"})
"""Hosts from which models may be pulled: any other could be in a private network."""

_MAX_VALUES: Final = 500_000
"""Each takes up to 50 times its bytes of JSON in memory, and time to parse."""
_SHARED_FIELDS: Final = ("keep_alive", "shift")
_SHARED_OPTIONS: Final = (
    "num_ctx",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "use_mmap",
    "num_thread",
    "draft_num_predict",
)
"""Options that reload a model for all of its users.

``Runner`` in ``api/types.go`` and ``needsReload`` in ``server/sched.go`` of
github.com/ollama/ollama v0.34.1.
"""


class _DuplicateKeys(dict[str, Any]):
    """An object with two keys that differ at most in case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamBody:
    """Request body for the engine.

    Attributes:
        content: Bytes, which can be sent again, or a stream, which cannot; None for
            no body.
        content_type: Empty where there is none.
        length: In bytes; None if it is not known.
        model: Short name of the requested model; empty for none.
        is_stream: Whether it asks OpenAI's or Anthropic's API for a stream.
    """

    content: bytes | AsyncIterator[bytes] | None = None
    content_type: str = ""
    length: int | None = None
    model: str = ""
    is_stream: bool = False


def sanitize_json_body(
    raw: bytes, kind: BodyKind, models: ModelAllowlist, *, may_manage: bool
) -> UpstreamBody:
    """Return our own serialisation of a JSON body, once it is checked.

    Args:
        raw: As the client sent it.
        kind: The one that the route takes.
        models: Those that the caller may use.
        may_manage: Whether the caller may change models and options for all users.

    Raises:
        ErrorResponse: 400 for an ambiguous JSON object or none, 403 for a registry
            that is not allowed, 404 for a model that is not served, 413 for too many
            values.
    """
    body = _parse_object(raw)
    if body.get("options") is not None:
        body["options"] = _casefold_keys(body["options"], "'options'")
    if kind is BodyKind.MODEL_CALL:
        model = _check_models(body, models)
    else:
        model = _check_management_body(body, models)
    if not may_manage:
        _drop(body, _SHARED_FIELDS)
        _drop(body.get("options") or {}, _SHARED_OPTIONS)
    try:
        content = _serialise(body)
    except ValueError as error:
        raise ErrorResponse(
            400, "The request body has a number that JSON does not allow."
        ) from error
    return UpstreamBody(
        content=content,
        content_type="application/json",
        length=len(content),
        model=model,
        is_stream=body.get("stream") is True,
    )


def _serialise(body: dict[str, Any]) -> bytes:
    try:
        return _ENCODER.encode(body).encode()
    except UnicodeEncodeError:
        # Half a surrogate pair can only be written as an escape.
        return json.dumps(body, allow_nan=False).encode()


def _parse_object(raw: bytes) -> dict[str, Any]:
    if sum(map(raw.count, (b",", b"[", b"{"))) > _MAX_VALUES:
        raise ErrorResponse(413, "The request body has too many values.")
    try:
        parsed = _DECODER.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ErrorResponse(400, "The request body is not valid JSON.") from error
    return _casefold_keys(parsed, "The request body")


def _casefold_keys(value: Any, subject: str) -> dict[str, Any]:
    """Return an object with its keys in the spelling of the engine's API."""
    if not isinstance(value, dict):
        raise ErrorResponse(400, f"{subject} must be a JSON object.")
    if isinstance(value, _DuplicateKeys):
        raise ErrorResponse(400, f"{subject} has the same key twice.")
    return {key.casefold(): item for key, item in value.items()}


def _to_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len({key.casefold() for key, _ in pairs}) < len(pairs):
        return _DuplicateKeys(value)
    return value


_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
)
_DECODER: Final = json.JSONDecoder(object_pairs_hook=_to_object)


def _drop(values: dict[str, Any], keys: Iterable[str]) -> None:
    for key in keys:
        values.pop(key, None)


def _names(body: dict[str, Any], *fields: str) -> list[str]:
    """Return the names in these fields, and remove fields that are null."""
    names = []
    for field in fields:
        value = body.get(field)
        if value is None:
            body.pop(field, None)
        elif isinstance(value, str):
            names.append(value)
        else:
            raise ErrorResponse(400, f"'{field}' must be a string.")
    return [name for name in names if name]


def _check_models(body: dict[str, Any], models: ModelAllowlist) -> str:
    names = _names(body, "model", "name")
    if not names:
        raise ErrorResponse(400, "'model' is missing.")
    first, *_ = [models.require(name) for name in names]
    return first


def _check_management_body(body: dict[str, Any], models: ModelAllowlist) -> str:
    body.pop("insecure", None)
    if body.pop("remote_host", None):
        raise ErrorResponse(403, "Models that run on another server are disabled.")
    pulled = [_parse_name(name) for name in _names(body, "model", "name", "from")]
    copied = [_parse_name(name) for name in _names(body, "source", "destination")]
    for name in (*pulled, *copied):
        models.require_changeable(name)
        if is_cloud(name):
            raise ErrorResponse(403, "Models that run in the cloud are disabled.")
    for name in pulled:
        host = name.host.lower()
        if host not in REGISTRIES and host not in models.registries:
            raise ErrorResponse(
                403, f"Models of {host} may not be used through this URL."
            )
    return pulled[0].short if pulled else ""


def _parse_name(name: str) -> ModelName:
    try:
        return ModelName.parse(name)
    except UsageError as error:
        shown = strip_control_chars(name[:MAX_ECHO_CHARS])
        raise ErrorResponse(400, f"'{shown}' is not a model name.") from error
