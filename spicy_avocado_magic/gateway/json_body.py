"""Request bodies: parsed once, rewritten as we understood them.

The engine is written in Go, whose JSON decoder matches keys without case and lets
the last one win: ``{"model":"a","MODEL":"b"}`` runs *b*. So what was checked here
must be what is sent on.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

from ..config.model_name import DEFAULT_HOST, ModelName
from ..errors import UsageError
from ..system.redaction import strip_control_chars
from .error_responses import ErrorResponse
from .model_allowlist import MAX_ECHO_CHARS, ModelAllowlist, is_cloud
from .routes import BodyKind

REGISTRIES: Final = frozenset({DEFAULT_HOST, "hf.co", "huggingface.co"})
"""Where models may come from: any other host could be inside the caller's network."""

_MOST_VALUES: Final = 500_000
"""Parsed, each takes up to 50 times the bytes it came as, and time meanwhile."""
_SHARED_FIELDS: Final = ("keep_alive", "shift")
_FOR_ALL_OPTIONS: Final = (
    "num_ctx",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "use_mmap",
    "num_thread",
    "draft_num_predict",
)
"""What unloads or reloads a model for everybody who uses it.

``Runner`` in ``api/types.go`` and ``needsReload`` in ``server/sched.go`` of
github.com/ollama/ollama v0.34.1.
"""


class _DuplicateKeys(dict[str, Any]):
    """An object two of whose keys differ at most in case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamBody:
    """A body as it goes to the engine, and what it asks for.

    Attributes:
        body: Bytes that may be sent again, or a stream that may not; None for none.
        content_type: Of the body; empty where it has none.
        length: In bytes; None if it is not known.
        model: The model it names, in its short form; empty where it names none.
        is_stream: Whether it asks OpenAI's or Anthropic's API for a stream.
    """

    body: bytes | AsyncIterator[bytes] | None = None
    content_type: str = ""
    length: int | None = None
    model: str = ""
    is_stream: bool = False


def sanitize_json_body(
    raw: bytes,
    sends: BodyKind,
    served: ModelAllowlist,
    *,
    may_manage: bool,
    registries: Collection[str] = (),
) -> UpstreamBody:
    """Return our own serialisation of a JSON body that may go to the engine.

    Args:
        raw: As it came.
        sends: What the route takes.
        served: The models that the caller may use.
        may_manage: Whether the caller may change what holds for everybody.
        registries: Where models may come from, besides ``REGISTRIES``.

    Raises:
        Refusal: 400 for what is no clear JSON object, 403 for a registry that is not
            allowed, 404 for a model that is not served, 413 for too many values.
    """
    body = _object(raw)
    if body.get("options") is not None:
        body["options"] = _casefold_keys(body["options"], "'options'")
    if sends is BodyKind.MODEL_CALL:
        model = _check_models(body, served)
    else:
        model = _check_management_body(body, served, registries)
    if not may_manage:
        _drop(body, _SHARED_FIELDS)
        _drop(body.get("options") or {}, _FOR_ALL_OPTIONS)
    try:
        whole = _written(body)
    except ValueError as error:
        raise ErrorResponse(
            400, "The request body holds a number that JSON has not."
        ) from error
    return UpstreamBody(
        body=whole,
        content_type="application/json",
        length=len(whole),
        model=model,
        is_stream=body.get("stream") is True,
    )


def _written(body: dict[str, Any]) -> bytes:
    try:
        return _ENCODER.encode(body).encode()
    except UnicodeEncodeError:
        # Half a surrogate pair has only an escape.
        return json.dumps(body, allow_nan=False).encode()


def _object(raw: bytes) -> dict[str, Any]:
    if sum(map(raw.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise ErrorResponse(413, "The request body holds too many values.")
    try:
        parsed = _DECODER.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ErrorResponse(400, "The request body is not valid JSON.") from error
    return _casefold_keys(parsed, "The request body")


def _casefold_keys(value: Any, what: str) -> dict[str, Any]:
    """Return an object with its keys in the one spelling that the engine's API has."""
    if not isinstance(value, dict):
        raise ErrorResponse(400, f"{what} must be a JSON object.")
    if isinstance(value, _DuplicateKeys):
        raise ErrorResponse(400, f"{what} has the same key twice.")
    return {key.casefold(): item for key, item in value.items()}


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len({key.casefold() for key, _ in pairs}) < len(pairs):
        return _DuplicateKeys(made)
    return made


_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
)
_DECODER: Final = json.JSONDecoder(object_pairs_hook=_pairs)


def _drop(values: dict[str, Any], keys: Iterable[str]) -> None:
    for key in keys:
        values.pop(key, None)


def _names(body: dict[str, Any], *fields: str) -> list[str]:
    """Return the names given in these fields; a null one is taken out as not given."""
    names = []
    for field in fields:
        value = body.get(field)
        if value is None:
            body.pop(field, None)
        elif isinstance(value, str):
            names.append(value)
        else:
            raise ErrorResponse(400, f"'{field}' must be a text.")
    return [name for name in names if name]


def _check_models(body: dict[str, Any], served: ModelAllowlist) -> str:
    names = _names(body, "model", "name")
    if not names:
        raise ErrorResponse(400, "'model' is missing.")
    first, *_ = [served.require(name) for name in names]
    return first


def _check_management_body(
    body: dict[str, Any], served: ModelAllowlist, registries: Collection[str]
) -> str:
    body.pop("insecure", None)
    if body.pop("remote_host", None):
        raise ErrorResponse(403, "Models that run on another server are switched off.")
    fetched = [_parsed(name) for name in _names(body, "model", "name", "from")]
    moved = [_parsed(name) for name in _names(body, "source", "destination")]
    for name in (*fetched, *moved):
        served.require_changeable(name)
        if is_cloud(name):
            raise ErrorResponse(403, "Models that run in the cloud are switched off.")
    for name in fetched:
        host = name.host.lower()
        if host not in REGISTRIES and host not in registries:
            raise ErrorResponse(
                403, f"Models of {host} may not be used through this URL."
            )
    return fetched[0].short if fetched else ""


def _parsed(name: str) -> ModelName:
    try:
        return ModelName.parse(name)
    except UsageError as error:
        shown = strip_control_chars(name[:MAX_ECHO_CHARS])
        raise ErrorResponse(400, f"'{shown}' is not a model name.") from error
