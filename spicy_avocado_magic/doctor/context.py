"""What is examined: settings, folders and token, as far as they can be had."""

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
    """Where it came from, in plain words."""
    is_api_key: bool = False
    """Whether ``Credential.other_variable`` holds the same text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorRequest:
    """What the kernel asks for; it comes on standard input."""

    rehearse: bool = False
    with_report: bool = False
    sources: Endpoints = field(default_factory=Endpoints)
    policy: Timeouts = field(default_factory=Timeouts)
    token: Token = Token()


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorContext:
    """All that a check may look at."""

    settings: Settings
    """Those of the service that runs, or of one that a host has left; else empty."""
    folder: StateFolder | None
    """None where it cannot be used."""
    policy: Timeouts
    token: Token
    platform: Platform
    rehearsal: bool = False
    is_running: bool = False
    """Whether the folder's host lives."""

    @property
    def provider(self) -> TunnelProvider:
        """The tunnel provider that the settings name."""
        return _provider(self.settings)


def _provider(settings: Settings) -> TunnelProvider:
    from ..tunnel.registry import PROVIDERS  # here, since it imports aiohttp

    return PROVIDERS[settings.sources.tunnel]


def load_context(request: DoctorRequest) -> DoctorContext:
    """Gather what is to be examined; what cannot be read is left out."""
    folder: StateFolder | None = None
    settings = Settings(sources=request.sources)
    is_running = False
    # Why a folder or a file cannot be used is told by the check of it.
    with contextlib.suppress(AvocadoError, OSError):
        folder = StateFolder.find(rehearsal=request.rehearse)
        record = folder.read_record()
        is_running = record is not None and record.host.is_alive
        settings = _wanted(folder, settings, is_running=is_running)
    return DoctorContext(
        settings=settings,
        folder=folder,
        policy=request.policy,
        token=_token(folder, request.token, settings),
        platform=detect_platform(),
        rehearsal=request.rehearse,
        is_running=is_running,
    )


def _wanted(folder: StateFolder, base: Settings, *, is_running: bool) -> Settings:
    """Return the settings on disk; where a dead host found things is out of date."""
    with contextlib.suppress(ValueError, TypeError):
        stored = from_json(
            Settings, json.loads(read_private(folder.desired_state) or "")
        )
        return stored if is_running else replace(stored, sources=base.sources)
    return base


def _token(folder: StateFolder | None, given: Token, settings: Settings) -> Token:
    if given.text or folder is None or settings.local:
        return given
    with contextlib.suppress(OSError, ValueError, KeyError):
        return Token(
            text=_provider(settings).read_token(folder.agent_config),
            origin="the service's own",
        )
    return given
