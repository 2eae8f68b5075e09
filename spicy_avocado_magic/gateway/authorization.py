"""Authorization by origin, host, route, method and API key, before the body is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from multidict import CIMultiDict, CIMultiDictProxy

from ..config.api_keys import ApiKey
from ..config.validators import is_key, validate_key
from ..errors import UsageError
from ..system.redaction import Secret
from .authentication import Caller, KeyStore
from .cors import NO_CORS, cors_headers
from .error_responses import ErrorResponse
from .model_allowlist import ModelAllowlist
from .routes import NO_ROUTE, Permission, Route, find_route, model_id

Headers = CIMultiDict[str] | CIMultiDictProxy[str]

_LOCAL_HOST: Final = re.compile(
    r"(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE
)
_BEARER: Final = re.compile(r"Bearer +(\S+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPolicy:
    """Rules of what the gateway allows.

    Attributes:
        key: The owner's key; None only under ``--no-auth``.
        path_key: Whether the key may also be the first part of the path.
        manage: Whether keys may be allowed to install, copy and delete models.
        named: The keys of other people.
        public_host: ``host[:port]`` of the public URL; empty while there is none.
        models: The models that are served.
        awaited: The models that were requested, ready or not.
        any_model: Whether all other installed models are served as well.
        registries: Hosts from which models may be pulled, besides the usual ones.
        cors: Origins of web pages that may send requests; ``*`` is any.

    Raises:
        UsageError: If a key is malformed, or an option needs a key and there is none.
    """

    key: Secret | None
    path_key: bool = False
    manage: bool = False
    named: tuple[ApiKey, ...] = ()
    public_host: str = ""
    models: tuple[str, ...] = ()
    awaited: tuple[str, ...] = ()
    any_model: bool = False
    registries: tuple[str, ...] = ()
    cors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.key is not None:
            validate_key(self.key.get_secret_value())
        elif self.path_key or self.manage:
            raise UsageError(
                "--path-key and --manage need an API key.",
                "Leave out --no-auth, or --path-key and --manage.",
            )


class Authorizer:
    """Access policy, prepared for a fast decision on each request."""

    def __init__(self, access: AccessPolicy) -> None:
        self.access = access
        self.keys = KeyStore(access.key, access.named, manage=access.manage)
        self._models = ModelAllowlist(
            access.models,
            awaited=access.awaited,
            any_model=access.any_model,
            registries=access.registries,
        )
        self._models_of_key = {
            key.name: self._models.restricted(key.models) for key in access.named
        }
        self._public_host = access.public_host.lower()

    def split_path_key(self, target: str) -> tuple[str, str | None]:
        """Return a raw target's path and its path key, which is not yet checked.

        The first part counts as a key only if it could be one and the rest is a
        route: ``//api/tags`` and ``/./api/tags`` are misspelt paths, not keys.
        """
        path = target.partition("?")[0]
        if self.access.path_key and self.route(path) is NO_ROUTE:
            key, slash, rest = path[1:].partition("/")
            is_keyed = path[:1] == "/" and is_key(key)
            if is_keyed and self.route(slash + rest) is not NO_ROUTE:
                return slash + rest, key
        return path, None

    def route(self, path: str) -> Route:
        """Return the route of a path; ``NO_ROUTE`` if there is none."""
        has_id, manage = self._models.has_id, self.access.manage
        return find_route(path, has_id, manage=manage) or NO_ROUTE

    def is_public(self, headers: Headers) -> bool:
        """Return whether the Host is the public one: the request used the tunnel."""
        host = headers.get("Host", "").lower()
        return bool(self._public_host) and host == self._public_host

    def cors(self, headers: Headers) -> Mapping[str, str]:
        """Return the CORS headers of the response; none for a foreign origin."""
        if "Origin" not in headers:
            return NO_CORS
        return cors_headers(headers.getall("Origin"), self.access.cors)

    def models_of(self, caller: Caller | None) -> ModelAllowlist:
        """Return the models that a caller may use."""
        if caller is None:
            return self._models
        return self._models_of_key.get(caller.name, self._models)

    def authorize(
        self, method: str, path: str, path_key: str | None, headers: Headers
    ) -> Caller | None:
        """Return the caller of a request; None where no key is needed.

        Raises:
            ErrorResponse: For the first that is wrong of Origin, Host, route, method,
                API key and permission.
        """
        if "Origin" in headers and not self.cors(headers):
            raise ErrorResponse(
                403, "Requests from this web page are not allowed here."
            )
        self._check_host(headers)
        if "Upgrade" in headers:
            raise ErrorResponse(400, "This server does not switch protocols.")
        route = self.route(path)
        if route is NO_ROUTE:
            raise not_found()
        if method == "OPTIONS":
            return None
        if method not in route.methods:
            raise ErrorResponse(
                405,
                f"Use {' or '.join(route.methods)} for this path.",
                headers={"Allow": ", ".join(route.methods)},
            )
        if path_key is None and route.permission is Permission.PUBLIC:
            return None
        caller = self._authenticate(path_key, headers)
        if route.permission is Permission.MANAGE and not caller.manage:
            raise ErrorResponse(403, "This key may not manage models.")
        requested = model_id(path)
        if requested is not None and not self.models_of(caller).has_id(requested):
            raise not_found()
        return caller

    def _check_host(self, headers: Headers) -> None:
        """Refuse a foreign Host: a web page can bind its own name to loopback."""
        hosts = headers.getall("Host", [])
        if len(hosts) != 1 or not (
            self.is_public(headers) or _LOCAL_HOST.fullmatch(hosts[0])
        ):
            raise ErrorResponse(403, "This server does not answer for that host name.")

    def _authenticate(self, path_key: str | None, headers: Headers) -> Caller:
        keys = _keys_in(headers)
        if path_key is not None:
            keys.append(path_key)
        return self.keys.authenticate(keys)


def not_found() -> ErrorResponse:
    """Return the 404 for a path that is not a route, byte for byte."""
    return ErrorResponse(404, "This path does not exist here.", code="not_found")


def _keys_in(headers: Headers) -> list[str]:
    """Return every key in the headers; one of an unknown scheme becomes a wrong key.

    Raises:
        ErrorResponse: 400 for a repeated header, since readers differ on which counts.
    """
    bearers = headers.getall("Authorization", [])
    keys = headers.getall("x-api-key", [])
    if len(bearers) > 1 or len(keys) > 1:
        raise ErrorResponse(400, "The API key was sent more than once.")
    found = [_BEARER.fullmatch(value) for value in bearers]
    return [*keys, *(match[1] if match else "" for match in found)]
