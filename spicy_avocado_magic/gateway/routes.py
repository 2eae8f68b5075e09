"""Table of all routes; a path that differs from them by a byte does not exist."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


class Permission(enum.Enum):
    """Permission that a route needs."""

    PUBLIC = "public"
    KEY = "key"
    MANAGE = "manage"


class BodyKind(enum.Enum):
    """Kind of a route's request body."""

    NONE = "none"
    MODEL_CALL = "model call"
    """A JSON object that names a served model."""
    MANAGEMENT = "management"
    """A JSON object that changes the installed models."""
    MULTIPART = "multipart"
    """A multipart form that names a served model."""
    BLOB = "blob"
    """Raw bytes of any length, never held in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row of the table.

    Attributes:
        label: Its name in the log; also its only spelling, unless it holds ``{``.
        methods: The methods that the engine has for it.
        permission: What a caller needs.
        body: Of requests with a method that has one.
        list_field: Field of the response that lists models; empty if none does.
        is_inference: Whether it makes a model work.
        terminal_events: Byte strings of which a complete stream of server-sent events
            has one in its last bytes, also a stream that ended with an error event.
            JSON escapes quotes and line ends inside a text, so that no model output
            contains them. Empty where nothing is streamed as events.
    """

    label: str
    methods: tuple[str, ...]
    permission: Permission = Permission.KEY
    body: BodyKind = BodyKind.NONE
    list_field: str = ""
    is_inference: bool = False
    terminal_events: tuple[bytes, ...] = ()

    def is_stream_complete(self, ending: bytes) -> bool:
        """Return whether the last bytes of an event stream are its end.

        Args:
            ending: The last bytes, 500 or more if there are so many.
        """
        ends = self.terminal_events
        return not ends or any(end in ending for end in ends)


def _inference(
    label: str, *terminal_events: bytes, body: BodyKind = BodyKind.MODEL_CALL
) -> Route:
    return Route(
        label=label,
        methods=("POST",),
        body=body,
        is_inference=True,
        terminal_events=terminal_events,
    )


def _management(
    label: str, *methods: str, body: BodyKind = BodyKind.MANAGEMENT
) -> Route:
    return Route(label=label, methods=methods, permission=Permission.MANAGE, body=body)


_READ: Final = ("GET",)
_READ_OR_HEAD: Final = ("GET", "HEAD")
_OPENAI_ENDS: Final = (b"data: [DONE]", b'data: {"error"')
_RESPONSES_ENDS: Final = (
    b'"type":"response.completed"',
    b'"type":"response.incomplete"',
    b'"type":"response.failed"',
    b"event: error",
)

NO_ROUTE: Final = Route(label="-", methods=())
"""Stands for a path that does not exist."""
_BLOB: Final = _management("/api/blobs/{digest}", "HEAD", "POST", body=BodyKind.BLOB)
_MODEL: Final = Route(label="/v1/models/{id}", methods=_READ)

ALL_ROUTES: Final = (
    Route(label="/", methods=_READ_OR_HEAD, permission=Permission.PUBLIC),
    Route(label="/api/version", methods=_READ_OR_HEAD, permission=Permission.PUBLIC),
    Route(label="/api/status", methods=_READ),
    Route(label="/api/tags", methods=_READ_OR_HEAD, list_field="models"),
    Route(label="/api/ps", methods=_READ, list_field="models"),
    Route(label="/api/show", methods=("POST",), body=BodyKind.MODEL_CALL),
    _inference("/api/generate"),
    _inference("/api/chat"),
    _inference("/api/embed"),
    _inference("/api/embeddings"),
    Route(label="/v1/models", methods=_READ, list_field="data"),
    _MODEL,
    _inference("/v1/chat/completions", *_OPENAI_ENDS),
    _inference("/v1/completions", *_OPENAI_ENDS),
    _inference("/v1/embeddings"),
    _inference("/v1/responses", *_RESPONSES_ENDS),
    _inference("/v1/messages", b"event: message_stop", b"event: error"),
    _inference("/v1/audio/transcriptions", body=BodyKind.MULTIPART),
    _management("/api/pull", "POST"),
    _management("/api/push", "POST"),
    _management("/api/create", "POST"),
    _management("/api/copy", "POST"),
    _management("/api/delete", "DELETE"),
    _BLOB,
)
_BY_PATH: Final = {route.label: route for route in ALL_ROUTES if "{" not in route.label}
_BLOB_PATH: Final = re.compile(r"/api/blobs/sha256:[0-9a-f]{64}")
_MODEL_PREFIX: Final = "/v1/models/"


def find_route(
    path: str, has_id: Callable[[str], bool], *, manage: bool
) -> Route | None:
    """Return the route with exactly this spelling, None if there is none.

    Args:
        path: The raw request target without query and path key; never normalised.
        has_id: Returns whether ``/v1/models/{id}`` exists for an id.
        manage: Whether the management routes exist.
    """
    route = _BY_PATH.get(path)
    if route is None:
        requested = model_id(path)
        if requested is not None:
            return _MODEL if has_id(requested) else None
        route = _BLOB if _BLOB_PATH.fullmatch(path) else None
    if route is not None and route.permission is Permission.MANAGE and not manage:
        return None
    return route


def model_id(path: str) -> str | None:
    """Return the ``{id}`` of ``/v1/models/{id}``, whether or not it exists."""
    has_prefix = path.startswith(_MODEL_PREFIX)
    return path[len(_MODEL_PREFIX) :] if has_prefix else None
