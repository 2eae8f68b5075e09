"""Every route there is; a target that is not spelled like one does not exist."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


class Permission(enum.Enum):
    """What a caller needs to be let through."""

    OPEN = "open"
    KEY = "key"
    MANAGE = "manage"


class BodyKind(enum.Enum):
    """What the body of a request to a route is."""

    NOTHING = "nothing"
    MODEL_CALL = "model call"
    """A JSON object that names a model which must be one of those served."""
    ORDER = "order"
    """A JSON object that changes what is installed."""
    FORM = "form"
    """A multipart form that names such a model."""
    BLOB = "blob"
    """Raw bytes of any length, never held in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row of the table of routes.

    Attributes:
        label: How it is logged; also its only spelling, unless it holds ``{``.
        methods: The methods the engine has for it.
        level: Who may call it.
        sends: What its request body is, for methods that have one.
        lists: The field of the reply that lists models; empty where none does.
    """

    label: str
    methods: tuple[str, ...]
    level: Permission = Permission.KEY
    body: BodyKind = BodyKind.NOTHING
    list_field: str = ""


_READ: Final = ("GET",)
_READ_OR_HEAD: Final = ("GET", "HEAD")
_INFERENCE_PATHS: Final = (
    "/api/generate",
    "/api/chat",
    "/api/embed",
    "/api/embeddings",
    "/api/show",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/messages",
)
INFERENCE: Final = frozenset(
    {*_INFERENCE_PATHS, "/v1/audio/transcriptions"} - {"/api/show"}
)
"""The labels of what makes a model work."""
_MANAGEMENT_PATHS: Final = ("/api/pull", "/api/push", "/api/create", "/api/copy")

_TABLE: Final = (
    Route(label="/", methods=_READ_OR_HEAD, level=Permission.OPEN),
    Route(label="/api/version", methods=_READ_OR_HEAD, level=Permission.OPEN),
    Route(label="/api/status", methods=_READ),
    Route(label="/api/tags", methods=_READ_OR_HEAD, list_field="models"),
    Route(label="/api/ps", methods=_READ, list_field="models"),
    Route(label="/v1/models", methods=_READ, list_field="data"),
    *(
        Route(label=p, methods=("POST",), body=BodyKind.MODEL_CALL)
        for p in _INFERENCE_PATHS
    ),
    Route(label="/v1/audio/transcriptions", methods=("POST",), body=BodyKind.FORM),
    *(
        Route(
            label=path, methods=("POST",), level=Permission.MANAGE, body=BodyKind.ORDER
        )
        for path in _MANAGEMENT_PATHS
    ),
    Route(
        label="/api/delete",
        methods=("DELETE",),
        level=Permission.MANAGE,
        body=BodyKind.ORDER,
    ),
)
_BY_PATH: Final = {route.label: route for route in _TABLE}

_BLOB: Final = Route(
    label="/api/blobs/{digest}",
    methods=("HEAD", "POST"),
    level=Permission.MANAGE,
    body=BodyKind.BLOB,
)
_BLOB_PATH: Final = re.compile(r"/api/blobs/sha256:[0-9a-f]{64}")
_MODEL: Final = Route(label="/v1/models/{id}", methods=_READ)
_MODEL_PREFIX: Final = "/v1/models/"

ALL_ROUTES: Final = (*_TABLE, _BLOB, _MODEL)


def find_route(
    path: str, has_id: Callable[[str], bool], *, manage: bool
) -> Route | None:
    """Return the route that is spelled exactly so, byte for byte.

    Args:
        path: The raw request target without query and path key; never normalised.
        has_id: Tells the ids for which ``/v1/models/{id}`` exists.
        manage: Whether routes that change things exist.
    """
    route = _BY_PATH.get(path)
    if route is None:
        asked = model_id(path)
        if asked is not None:
            return _MODEL if has_id(asked) else None
        route = _BLOB if _BLOB_PATH.fullmatch(path) else None
    if route is not None and route.level is Permission.MANAGE and not manage:
        return None
    return route


def model_id(path: str) -> str | None:
    """Return the ``{id}`` of ``/v1/models/{id}``, whether or not it exists."""
    has_prefix = path.startswith(_MODEL_PREFIX)
    return path[len(_MODEL_PREFIX) :] if has_prefix else None
