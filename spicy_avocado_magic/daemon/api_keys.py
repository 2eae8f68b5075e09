"""Named API keys of the running daemon: created, checked, revoked and listed."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import replace
from typing import Final

from ..config.api_key_options import ApiKeyRequest
from ..config.api_keys import MAX_NAMED_KEYS, OWNER, ApiKey
from ..config.model_name import ModelName
from ..config.settings import Settings
from ..errors import UsageError
from ..formatting import did_you_mean
from ..gateway.revocation import cancel_over_quota
from ..protocol.state import ApiKeyState
from ..protocol.usage import KeyLimits, shared_fields
from .components.gateway import GatewayComponent
from .context import DaemonContext
from .desired_state import save_desired_state
from .traffic import api_key_states

KEY_BYTES: Final = 24
_ID_BYTES: Final = 8


def new_secret(prefix: str = "avocado-") -> str:
    """Return a random key."""
    return prefix + secrets.token_urlsafe(KEY_BYTES)


def add_api_key(
    settings: Settings, grant: ApiKeyRequest, now: float
) -> tuple[Settings, ApiKey]:
    """Return settings with a new key, and that key.

    It replaces an expired key of the same name.

    Args:
        settings: The present settings.
        grant: What the new key may do.
        now: Seconds since the epoch.

    Raises:
        UsageError: If the key is not allowed.
    """
    kept = tuple(
        key
        for key in settings.keys
        if key.name != grant.name or not key.is_expired(now)
    )
    _check(replace(settings, keys=kept), grant)
    key = ApiKey(
        **shared_fields(grant, KeyLimits),
        secret=new_secret(),
        id=secrets.token_hex(_ID_BYTES),
        expires_at=now + grant.expires_s if grant.expires_s else 0.0,
    )
    return replace(settings, keys=(*kept, key)), key


def remove_api_key(settings: Settings, name: str) -> Settings:
    """Return settings without the key of this name.

    Raises:
        UsageError: If there is none, with the closest name.
    """
    names = [key.name for key in settings.keys]
    if name not in names:
        hint = did_you_mean(name, names, "%avocado_keys lists them.")
        if name == OWNER:
            hint = "Your own key changes with %avocado_up --api-key KEY."
        raise UsageError(f"There is no named key {name!r}.", hint)
    return replace(settings, keys=tuple(k for k in settings.keys if k.name != name))


def _check(settings: Settings, grant: ApiKeyRequest) -> None:
    if settings.no_auth:
        raise UsageError(
            "With --no-auth no key is needed, so a named key has no effect.",
            "Require keys first: %avocado_up --no-auth=false",
        )
    if grant.name in [key.name for key in settings.keys]:
        raise UsageError(
            f"A key named {grant.name!r} exists already.",
            "Choose another name, or revoke that key with %avocado_keys revoke.",
        )
    if len(settings.keys) >= MAX_NAMED_KEYS:
        raise UsageError(
            f"There are {MAX_NAMED_KEYS} named keys already, and no more are allowed.",
            "Revoke one with %avocado_keys revoke.",
        )
    if grant.manage and not settings.manage:
        raise UsageError(
            "Managing models is switched off for every key.",
            "Switch it on first: %avocado_up --manage",
        )
    if not settings.any_model:
        _check_models(settings.models, grant.models)


def _check_models(served: tuple[str, ...], requested: tuple[str, ...]) -> None:
    """Check that the key's models are served.

    Raises:
        UsageError: For one that is not, with the closest served name.
    """
    known = {ModelName.parse(name).key: name for name in served}
    for name in requested:
        if ModelName.parse(name).key not in known:
            hint = did_you_mean(name, served, f"Served: {', '.join(served)}.")
            raise UsageError(
                f"The model {name} is not served, so the key could not use it.",
                f"{hint} Serve more with %avocado_up MODEL, or --any-model.",
            )


class ApiKeyManager:
    """Changes of the named keys of a running daemon."""

    def __init__(self, context: DaemonContext, gateway: GatewayComponent) -> None:
        self._context, self._gateway = context, gateway

    async def watch(self) -> None:
        """Cancel requests of keys whose parallel requests exceed the quota together."""
        while True:
            await asyncio.sleep(self._context.timeouts.overdraft_every_s)
            cancel_over_quota(self._gateway.gateway.metrics)

    def states(self) -> tuple[ApiKeyState, ...]:
        """Return every key with its limits and usage, without secrets."""
        metrics = self._gateway.gateway.metrics
        return api_key_states(self._context.settings, metrics, time.time())

    def add(self, grant: ApiKeyRequest) -> str:
        """Create a key, valid from now on, and return its secret.

        Raises:
            UsageError: If the key is not allowed.
        """
        settings, key = add_api_key(self._context.settings, grant, time.time())
        self._apply(settings, key.name)
        self._context.log(f"created the key of {key.name}")
        return key.secret

    def revoke(self, name: str) -> None:
        """Revoke a key, and cancel its requests in flight.

        Raises:
            UsageError: If no key has this name.
        """
        self._apply(remove_api_key(self._context.settings, name), name)
        self._context.log(f"revoked the key of {name}")

    def _apply(self, settings: Settings, name: str) -> None:
        # Stored first: a change that a full disk loses must not take effect.
        save_desired_state(self._context, settings)
        self._context.settings = settings
        self._gateway.refresh()
        self._gateway.gateway.metrics.keys.pop(name, None)
