"""The report for a bug report: everything that helps, nothing that is private."""

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
"""Not the access log: it is about other people."""
_LOG_LINES: Final = 60
_EVENTS: Final = 200
_VERBOSE: Final = "OLLAMA_DEBUG"
_HIDDEN: Final = "•••"
_LIKE_A_TOKEN: Final = re.compile(rf"\b{TUNNEL.credential.usual_shape.pattern}\b")
_LIKE_A_KEY: Final = re.compile(r"\bavocado-[A-Za-z0-9_-]{8,}")


class Anonymizer:
    """Takes out secrets, and the names of people and of their places.

    Args:
        secrets: Texts that must not be seen.
        names: Of people; taken out where they stand as words of their own.
        home: Folder that is shown as ``~``.
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
        # Logs hold what was wanted before, of which nothing else is known now.
        for like in (_LIKE_A_TOKEN, _LIKE_A_KEY, TUNNEL.domain_pattern):
            text = like.sub(_HIDDEN, text)
        if len(self._home) > 1:
            text = text.replace(self._home, "~")
        return self._names.sub("USER", text) if self._names else text

    def clean(self, plain: Any) -> Any:
        """Return JSON with every text in it cleaned; names of members are ours."""
        if isinstance(plain, str):
            return self(plain)
        if isinstance(plain, dict):
            return {
                self._redact(str(key)): self.clean(value)
                for key, value in plain.items()
            }
        if isinstance(plain, list):
            return [self.clean(item) for item in plain]
        return plain


def known_secrets(case: DoctorContext) -> list[str]:
    """Return every secret of settings, files, kernel and environment."""
    settings = case.settings
    found = [case.token.text, settings.token, settings.api_key, settings.metrics_token]
    found += [key.secret for key in settings.keys]
    found += proxy_passwords()
    if case.folder is not None:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            found.append(case.provider.read_token(case.folder.agent_config))
    return [secret for secret in found if secret]


def make_report(case: DoctorContext, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return findings, versions, settings, state and logs, fit to be published."""
    state: State | None = None
    problem = ""
    try:
        state = read_state(case)
    except AvocadoError as error:
        problem = str(error)
    events = _events(case)
    whole = {
        "program": f"Spicy Avocado {__version__}",
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "rehearsal": case.rehearsal,
        "platform": case.platform.name,
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": installed_versions(),
        "findings": {
            one.name: {"verdict": one.verdict, "what": one.what, "remedy": one.remedy}
            for one in findings
        },
        "settings": open_settings(case.settings),
        "state": problem or (open_state(state) if state else None),
        "events": to_json(events),
        "logs": log_tails(case),
    }
    return dict(privacy_of(case, state, events).clean(whole))


def privacy_of(
    case: DoctorContext, state: State | None, events: Sequence[EventRecord]
) -> Anonymizer:
    """Return what takes this user's secrets and names out."""
    hidden = known_secrets(case)
    names = [key.name for key in case.settings.keys] + _names_in(events)
    with contextlib.suppress(OSError, KeyError):
        names.append(getpass.getuser())
    home = Path.home()
    names.append(home.name)
    hidden.append(case.settings.domain)
    if state is not None:
        hidden += [state.api_key, state.metrics_token]
        # Who has the address can knock; it is the user's to give away.
        hidden.append("" if case.rehearsal else urlsplit(state.url).hostname or "")
        names += [key.name for key in state.keys[1:]]
    return Anonymizer([text for text in hidden if text], names, home)


def open_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings without those which are secret (or hold secrets)."""
    return {
        field.name: to_json(getattr(settings, field.name))
        for field in fields(settings)
        if field.repr
    }


def open_state(state: State) -> dict[str, Any]:
    """Return a state without its secrets, and without who was given a key."""
    keys = tuple(ApiKeyState(name=f"key {n}") for n, _ in enumerate(state.keys))
    plain: dict[str, Any] = to_json(
        replace(state, api_key="", metrics_token="", keys=keys, members=())
    )
    return plain


def log_tails(case: DoctorContext) -> dict[str, list[str]]:
    """Return the last lines of each log that is there."""
    if case.folder is None:
        return {}
    found = {
        name: tail_lines(case.folder.log(name), _LOG_LINES)
        for name in _LOGS
        if case.folder.log(name).exists()
    }
    if any(name == _VERBOSE for name, _ in case.settings.engine_env):
        found["engine"] = [f"(left out: with {_VERBOSE} it may hold prompts)"]
    return found


def _events(case: DoctorContext) -> tuple[EventRecord, ...]:
    return () if case.folder is None else read_tail(case.folder.path, _EVENTS)


def _names_in(events: Sequence[EventRecord]) -> list[str]:
    """Return the names of keys that services had which no longer run."""
    settings = [entry.facts.get("settings") for entry in events]
    kept = [held for held in settings if isinstance(held, dict)]
    return [str(name) for held in kept for name in held.get("keys", ())]
