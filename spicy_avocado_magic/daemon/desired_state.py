"""Desired state on disk, from which a killed daemon is started again."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

from ..config.settings import Settings
from ..errors import UsageError
from ..protocol.json_codec import to_json
from ..protocol.state_folder import write_private
from .context import DaemonContext


def save_desired_state(context: DaemonContext, settings: Settings) -> None:
    """Write the settings with their keys, and add their secrets to the redactor.

    The tunnel's token is in the agent's config instead.
    """
    context.redact.add(*secrets_of(settings))
    stored = to_json(replace(settings, token=""))
    write_private(context.folder.desired_state, json.dumps(stored))


def public_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings that differ from the defaults, without secrets."""
    shown = {
        part.name: to_json(getattr(settings, part.name))
        for part in fields(settings)
        # Fields with secrets are not in ``repr`` either.
        if part.repr and getattr(settings, part.name) != part.default
    }
    shown.pop("sources", None)
    return shown | {"keys": [key.name for key in settings.keys]}


def secrets_of(settings: Settings) -> tuple[str, ...]:
    """Return every secret in the settings."""
    return (
        settings.token,
        settings.api_key,
        settings.metrics_token,
        *(key.secret for key in settings.keys),
    )


def no_model() -> UsageError:
    """Return the error for a start without a model."""
    return UsageError(
        "No model was named.",
        "Name one, as in: %avocado_up llama3 (see ollama.com/library).",
    )
