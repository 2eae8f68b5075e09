"""The keys of a service as a table, and a new key as it is shown, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ...client.state_text import REHEARSAL_MARK, curl_line
from ...config.api_key_options import ApiKeyRequest
from ...config.api_keys import ANONYMOUS
from ...formatting import format_duration
from ...protocol.state import ApiKeyState, ModelState, State
from ...system.redaction import Secret, strip_control_chars
from ..session import print_line
from .html import RichOutput, columns_table, lines_of
from .theme import wrap_card
from .updatable import UpdatableOutput

HEAD: Final = ("name", "limits", "requests", "tokens in / out", "last used", "expires")
POOLED: Final = (
    "! This notebook alone knows the key: the other members of the pool answer 401.\n"
    "  → Share a service outside the pool, or the --api-key that all members have."
)
NO_AUTH: Final = "Under --no-auth anybody is let in; named keys have no use."


def show_keys(state: State, keys: Sequence[ApiKeyState], *, in_notebook: bool) -> None:
    """Show who may use a service, within which limits, and what each has used."""
    rows = [key_cells(key) for key in keys]
    notes = [NO_AUTH] if keys and keys[0].name == ANONYMOUS else []
    text = "\n".join([*_columns([HEAD, *rows]), *notes])
    if not in_notebook:
        print_line(text, rehearsal=state.rehearsal)
        return
    marked = f"{REHEARSAL_MARK}\n{text}" if state.rehearsal else text
    markup = wrap_card(
        columns_table("Keys", HEAD, rows) + lines_of(notes, "warning"),
        phase="ready",
        label="Keys",
        rehearsal=state.rehearsal,
    )
    UpdatableOutput().update(RichOutput(html=markup, text=marked))


def new_key_text(state: State, grant: ApiKeyRequest, secret: Secret) -> str:
    """Return a new key in full, and a line for its holder that works when pasted."""
    theirs = replace(
        state, api_key=secret.get_secret_value(), key_is_generated=True, hide_key=False
    )
    if grant.models:
        models = tuple(ModelState(name=name) for name in grant.models)
        theirs = replace(theirs, models=models)
    limits = limits_text(
        ApiKeyState(
            name=grant.name,
            manage=grant.manage,
            models=grant.models,
            rpm=grant.rpm,
            tokens=grant.tokens,
        )
    )
    expires = "never"
    if grant.expires_s:
        expires = f"in {format_duration(grant.expires_s)}"
    lines = [
        f"A key for {grant.name}, which is shown this once:",
        f"key     {secret.get_secret_value()}",
        f"limits  {limits}",
        f"expires {expires}",
        "",
        curl_line(theirs, show_key=True),
    ]
    return "\n".join([*lines, *(["", POOLED] if state.members else [])])


def limits_text(key: ApiKeyState) -> str:
    """Return in a line what a key may do."""
    parts = []
    if key.rpm:
        parts.append(f"{key.rpm} requests/min")
    if key.tokens:
        parts.append(f"{key.tokens} tokens")
    if key.models:
        parts.append(", ".join(key.models))
    if key.manage:
        parts.append("manages models")
    return strip_control_chars("; ".join(parts) or "none")


def key_cells(key: ApiKeyState) -> tuple[str, ...]:
    """Return a key's row under ``HEAD``."""
    about = "≈" if key.is_estimate else ""
    used = "never" if key.idle_s is None else f"{format_duration(key.idle_s)} ago"
    return (
        strip_control_chars(key.name),
        limits_text(key),
        str(key.requests),
        f"{about}{key.tokens_in} / {about}{key.tokens_out}",
        used,
        _expiry(key.expires_in_s),
    )


def _expiry(expires_in_s: float | None) -> str:
    if expires_in_s is None:
        return "never"
    return f"in {format_duration(expires_in_s)}" if expires_in_s > 0 else "expired"


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
