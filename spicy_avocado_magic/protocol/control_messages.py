"""Messages of the control API between kernel and daemon.

Each travels as JSON by ``json_codec``. An error is a ``Failure`` under ``failure``.
"""

from __future__ import annotations

from dataclasses import dataclass

from .launch_request import JsonObject
from .state import ApiKeyState, Event, Failure, State


@dataclass(frozen=True, slots=True, kw_only=True)
class UpMessage:
    """``POST /up``: change the settings."""

    given: JsonObject
    """Options given by the user, as JSON; may hold secrets."""
    only: bool
    """Whether the given models replace the present ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpReply:
    """The number of the change and the names of the settings that differ."""

    change: int
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawMessage:
    """``POST /withdraw``: undo a change by its number."""

    change: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawReply:
    """Whether it was undone; a later change stands otherwise."""

    done: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DownMessage:
    """``POST /down``: stop the daemon."""

    keep_wanted: bool
    """Whether the desired state stays on disk for the next daemon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysReply:
    """``GET /keys``: every API key, the owner's first."""

    keys: tuple[ApiKeyState, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AddKeyMessage:
    """``POST /keys``: create an API key."""

    grant: JsonObject
    """``config.api_key_options.ApiKeyRequest`` as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddKeyReply:
    """The new key."""

    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeKeyMessage:
    """``POST /keys/revoke``: revoke the API key of a name."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateMessage:
    """``POST /create``: create a model; the reply is a stream of ``CreateEvent``."""

    name: str
    modelfile: str
    folder: str
    """Where relative paths in the Modelfile start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateEvent:
    """A line of progress; the last has the models that were pulled, or the error."""

    text: str = ""
    pulled: tuple[str, ...] | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StateMessage:
    """A line of ``GET /events``: the state, and the events since the last line."""

    state: State
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The reply to a message that returns nothing."""
