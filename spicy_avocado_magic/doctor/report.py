"""Report for a bug report: findings, versions, settings, state and logs, redacted."""

from __future__ import annotations

import contextlib
import getpass
import platform
import re
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from .. import __version__
from ..config.settings import Settings
from ..config.tunnel import TUNNEL
from ..errors import AvocadoError
from ..protocol.event_log import EventRecord, read_tail
from ..protocol.finding import Finding
from ..protocol.json_codec import to_json
from ..protocol.state import ApiKeyState, State
from ..system.redaction import Redactor
from ..system.rotating_file import tail_lines
from .context import DoctorContext
from .machine import installed_versions, proxy_passwords
from .service import read_state

_LOGS: Final = ("host", "engine", "agent", "rehearsal")
"""Without the access log, which is about other people."""
_LOG_LINES: Final = 60
_EVENTS: Final = 200
_VERBOSE: Final = "OLLAMA_DEBUG"
_HIDDEN: Final = "•••"
_LIKE_A_TOKEN: Final = re.compile(rf"\b{TUNNEL.credential.usual_shape.pattern}\b")
_LIKE_A_KEY: Final = re.compile(r"\bavocado-[A-Za-z0-9_-]{8,}")


class Anonymizer:
    """Redacts secrets, names of people and the home folder.

    Args:
        secrets: Replaced wherever they occur.
        names: Of people; replaced where they are whole words.
        home: Folder that is written as ``~``.
    """

    def __init__(
        self, secrets: Sequence[str], names: Sequence[str], home: Path
    ) -> None:
        self._redact = Redactor(secrets)
        self._home = str(home)
        words = sorted({re.escape(name) for name in names if name}, key=len)
        joined = "|".join(reversed(words))
        self._names = re.compile(rf"(?<!\w)(?:{joined})(?!\w)") if words else None

    def __call__(self, text: str) -> str:
        """Return a text that may be published."""
        text = self._redact(text)
        # Logs may hold secrets of earlier settings, which are no longer known.
        for like in (_LIKE_A_TOKEN, _LIKE_A_KEY, TUNNEL.domain_pattern):
            text = like.sub(_HIDDEN, text)
        if len(self._home) > 1:
            text = text.replace(self._home, "~")
        return self._names.sub("USER", text) if self._names else text

    def clean(self, value: Any) -> Any:
        """Return JSON with every text in it redacted; its keys are our own names."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, dict):
            return {
                self._redact(str(key)): self.clean(item) for key, item in value.items()
            }
        if isinstance(value, list):
            return [self.clean(item) for item in value]
        return value


def known_secrets(context: DoctorContext) -> list[str]:
    """Return all secrets of settings, files, kernel and environment."""
    settings = context.settings
    found = [
        context.token.text,
        settings.token,
        settings.api_key,
        settings.metrics_token,
    ]
    found += [key.secret for key in settings.keys]
    found += proxy_passwords()
    if context.folder is not None:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            found.append(context.provider.read_token(context.folder.agent_config))
    return [secret for secret in found if secret]


def make_report(context: DoctorContext, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return findings, versions, settings, state and logs, safe to publish."""
    state: State | None = None
    problem = ""
    try:
        state = read_state(context)
    except AvocadoError as error:
        problem = str(error)
    events = _events(context)
    report = {
        "program": f"Spicy Avocado {__version__}",
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "rehearsal": context.rehearsal,
        "platform": context.platform.name,
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": installed_versions(),
        "findings": {
            finding.name: {k: v for k, v in to_json(finding).items() if k != "name"}
            for finding in findings
        },
        "settings": open_settings(context.settings),
        "state": problem or (open_state(state) if state else None),
        "events": to_json(events),
        "logs": log_tails(context),
    }
    return dict(anonymizer_for(context, state, events).clean(report))


def anonymizer_for(
    context: DoctorContext, state: State | None, events: Sequence[EventRecord]
) -> Anonymizer:
    """Return the anonymizer for this user's secrets and names."""
    hidden = known_secrets(context)
    names = [key.name for key in context.settings.keys] + _names_in(events)
    with contextlib.suppress(OSError, KeyError):
        names.append(getpass.getuser())
    home = Path.home()
    names.append(home.name)
    hidden.append(context.settings.domain)
    if state is not None:
        hidden += [state.api_key, state.metrics_token]
        # The public URL is not ours to publish.
        hidden.append("" if context.rehearsal else urlsplit(state.url).hostname or "")
        names += [key.name for key in state.keys[1:]]
    return Anonymizer([text for text in hidden if text], names, home)


def open_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings, except secrets; those are left out of ``repr`` too."""
    return {
        field.name: to_json(getattr(settings, field.name))
        for field in fields(settings)
        if field.repr
    }


def open_state(state: State) -> dict[str, Any]:
    """Return a state without secrets and without the names of keys."""
    keys = tuple(ApiKeyState(name=f"key {n}") for n, _ in enumerate(state.keys))
    json_value: dict[str, Any] = to_json(
        replace(state, api_key="", metrics_token="", keys=keys, members=())
    )
    return json_value


def log_tails(context: DoctorContext) -> dict[str, list[str]]:
    """Return the last lines of each log that exists."""
    if context.folder is None:
        return {}
    found = {
        name: tail_lines(context.folder.log(name), _LOG_LINES)
        for name in _LOGS
        if context.folder.log(name).exists()
    }
    if any(name == _VERBOSE for name, _ in context.settings.engine_env):
        found["engine"] = [f"(left out: with {_VERBOSE} it may hold prompts)"]
    return found


def _events(context: DoctorContext) -> tuple[EventRecord, ...]:
    return () if context.folder is None else read_tail(context.folder.path, _EVENTS)


def _names_in(events: Sequence[EventRecord]) -> list[str]:
    """Return the names of API keys that earlier services had."""
    settings = [entry.facts.get("settings") for entry in events]
    kept = [held for held in settings if isinstance(held, dict)]
    return [str(name) for held in kept for name in held.get("keys", ())]
