"""Input of the checks: settings, folders and token, as far as they can be read."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field, replace

from ..config.settings import Endpoints, Settings
from ..config.timeouts import Timeouts
from ..errors import AvocadoError
from ..protocol.json_codec import from_json
from ..protocol.state_folder import StateFolder, read_private
from ..system.platforms import Platform, detect_platform
from ..tunnel.provider import TunnelProvider


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """The tunnel's token as the kernel found it."""

    text: str = field(default="", repr=False)
    origin: str = ""
    """Where it was found, in words."""
    is_api_key: bool = False
    """Whether ``Credential.other_variable`` holds the same text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorRequest:
    """The kernel's request; it arrives as JSON on standard input."""

    rehearse: bool = False
    with_report: bool = False
    sources: Endpoints = field(default_factory=Endpoints)
    timeouts: Timeouts = field(default_factory=Timeouts)
    token: Token = Token()


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorContext:
    """Everything that a check may read."""

    settings: Settings
    """Of the running service, or those that an ended one left; else the defaults."""
    folder: StateFolder | None
    """None if it cannot be used."""
    timeouts: Timeouts
    token: Token
    platform: Platform
    rehearsal: bool = False
    is_running: bool = False
    """Whether the daemon of the folder is alive."""

    @property
    def provider(self) -> TunnelProvider:
        """The tunnel provider that the settings name."""
        from ..tunnel.registry import PROVIDERS  # imports aiohttp, maybe broken

        return PROVIDERS[self.settings.sources.tunnel]


def load_context(request: DoctorRequest) -> DoctorContext:
    """Read settings, folder and token; what cannot be read is left out."""
    folder: StateFolder | None = None
    settings = Settings(sources=request.sources)
    is_running = False
    # The check of a folder or file reports why it cannot be used.
    with contextlib.suppress(AvocadoError, OSError):
        folder = StateFolder.find(rehearsal=request.rehearse)
        record = folder.read_record()
        is_running = record is not None and record.host.is_alive
        settings = _stored_settings(folder, settings, is_running=is_running)
    context = DoctorContext(
        settings=settings,
        folder=folder,
        timeouts=request.timeouts,
        token=request.token,
        platform=detect_platform(),
        rehearsal=request.rehearse,
        is_running=is_running,
    )
    return replace(context, token=_token(context))


def _stored_settings(
    folder: StateFolder, base: Settings, *, is_running: bool
) -> Settings:
    """Return the settings on disk; the endpoints of a dead daemon are out of date."""
    with contextlib.suppress(ValueError, TypeError):
        stored = from_json(
            Settings, json.loads(read_private(folder.desired_state) or "")
        )
        return stored if is_running else replace(stored, sources=base.sources)
    return base


def _token(context: DoctorContext) -> Token:
    """Return the kernel's token, or that of the service if the kernel has none."""
    if context.token.text or context.folder is None or context.settings.local:
        return context.token
    with contextlib.suppress(OSError, ValueError, KeyError):
        text = context.provider.read_token(context.folder.agent_config)
        return Token(text=text, origin="the running service")
    return context.token
