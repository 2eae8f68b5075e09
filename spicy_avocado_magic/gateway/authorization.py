"""Who may do what: decided from a request's head, before its body is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from multidict import CIMultiDict, CIMultiDictProxy

from ..config.api_keys import ApiKey
from ..config.validators import is_key, validate_key
from ..errors import UsageError
from ..system.redaction import Secret
from .authentication import Caller, KeyStore
from .cors import NO_CORS, cors_headers, preflight_headers
from .error_responses import ErrorResponse
from .model_allowlist import ModelAllowlist
from .routes import Permission, Route, find_route, model_id

Headers = CIMultiDict[str] | CIMultiDictProxy[str]

_LOCAL_HOST: Final = re.compile(
    r"(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE
)
_BEARER: Final = re.compile(r"Bearer +(\S+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPolicy:
    """What the gateway lets through.

    Attributes:
        key: The owner's key; None only where the user said ``--no-auth``.
        path_key: Whether the key may also be the first part of the path.
        manage: Whether keys may be allowed to install, copy and delete models.
        named: The keys given to others.
        public_host: ``host[:port]`` of the public URL; empty while there is none.
        models: The models that are served.
        awaited: Those that are wanted, served yet or not.
        any_model: Whether all others that are installed are served as well.
        registries: Where models may be pulled from, besides the usual places.
        cors: Origins of web pages that may send requests; ``*`` is any.

    Raises:
        UsageError: If a key cannot be one, or what needs a key has none.
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
                "Without a key there is no path key and no managing of models.",
                "Leave out --no-auth, or --path-key and --manage.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizedRequest:
    """A request that was let in.

    Attributes:
        route: Where it goes.
        path: The target for the engine: free of key and query.
        caller: Whose key it carries; None where no key is asked for.
        served: The models that this caller may use.
        registries: Where this caller may pull from, besides the usual places.
        sent_body: Whether its method has the body which the route tells of.
    """

    route: Route
    path: str
    caller: Caller | None
    served: ModelAllowlist = field(repr=False)
    registries: tuple[str, ...] = ()
    sent_body: bool = False

    @property
    def may_manage(self) -> bool:
        """Whether its caller may install, copy and delete models."""
        return self.caller is not None and self.caller.manage


class Authorizer:
    """An ``AccessPolicy`` made ready to be asked by every request."""

    def __init__(self, access: AccessPolicy) -> None:
        self.access = access
        self.keyring = KeyStore(access.key, access.named, manage=access.manage)
        self._served = ModelAllowlist(
            access.models, awaited=access.awaited, any_model=access.any_model
        )
        self._served_to = {
            key.name: self._served.restricted(key.models) for key in access.named
        }
        self._public_host = access.public_host.lower()

    def split_path_key(self, target: str) -> tuple[str, str | None]:
        """Return a raw target's path and its path key, which is not yet checked.

        The first part is taken for a key only where it could be one and the rest is
        a route: ``//api/tags`` and ``/./api/tags`` are other spellings, not keys.
        """
        path = target.partition("?")[0]
        if self.access.path_key and self._route(path) is None:
            key, slash, rest = path[1:].partition("/")
            if (
                path[:1] == "/"
                and is_key(key)
                and self._route(slash + rest) is not None
            ):
                return slash + rest, key
        return path, None

    def route_label(self, path: str) -> str:
        """Return what a path is called in the log; never the path of a stranger."""
        route = self._route(path)
        return "-" if route is None else route.label

    def is_public(self, headers: Headers) -> bool:
        """Tell whether a request names the public host, so came by the tunnel."""
        host = headers.get("Host", "").lower()
        return bool(self._public_host) and host == self._public_host

    def cors(self, headers: Headers) -> Mapping[str, str]:
        """Return what the browser of an allowed web page must read in the reply."""
        if "Origin" not in headers:
            return NO_CORS
        return cors_headers(headers.getall("Origin"), self.access.cors)

    def preflight(self, visit: AuthorizedRequest) -> dict[str, str]:
        """Return the head of the answer to an ``OPTIONS`` request."""
        return preflight_headers(visit.route.methods)

    def authorize(
        self, method: str, path: str, path_key: str | None, headers: Headers
    ) -> AuthorizedRequest:
        """Let a request in, or say why not: Origin, Host, route, method, key.

        Raises:
            Refusal: With the first of these that is wrong.
        """
        if "Origin" in headers and not self.cors(headers):
            raise ErrorResponse(
                403, "Requests from this web page are not allowed here."
            )
        self._check_host(headers)
        if "Upgrade" in headers:
            raise ErrorResponse(400, "This server does not switch protocols.")
        route = self._route(path)
        if route is None:
            raise not_found()
        if method == "OPTIONS":
            return AuthorizedRequest(
                route=route, path=path, caller=None, served=self._served
            )
        if method not in route.methods:
            raise ErrorResponse(
                405,
                f"Use {' or '.join(route.methods)} for this path.",
                headers={"Allow": ", ".join(route.methods)},
            )
        caller = None
        if path_key is not None or route.level is not Permission.OPEN:
            caller = self._caller(path_key, headers)
        return self._visit(route, path, caller, sends=method in {"POST", "DELETE"})

    def _visit(
        self, route: Route, path: str, caller: Caller | None, *, sends: bool
    ) -> AuthorizedRequest:
        served = self._served
        if caller is not None:
            served = self._served_to.get(caller.name, served)
            if route.level is Permission.MANAGE and not caller.manage:
                raise ErrorResponse(403, "This key may not manage models.")
            asked = model_id(path)
            if asked is not None and not served.has_id(asked):
                raise not_found()
        return AuthorizedRequest(
            route=route,
            path=path,
            caller=caller,
            served=served,
            registries=self.access.registries,
            sent_body=sends,
        )

    def _route(self, path: str) -> Route | None:
        return find_route(path, self._served.has_id, manage=self.access.manage)

    def _check_host(self, headers: Headers) -> None:
        """Refuse a foreign Host: a web page's name may be bound to loopback."""
        hosts = headers.getall("Host", [])
        if len(hosts) != 1 or not (
            self.is_public(headers) or _LOCAL_HOST.fullmatch(hosts[0])
        ):
            raise ErrorResponse(403, "This server does not answer for that host name.")

    def _caller(self, path_key: str | None, headers: Headers) -> Caller:
        keys = _keys_in(headers)
        if path_key is not None:
            keys.append(path_key)
        return self.keyring.authenticate(keys)


def not_found() -> ErrorResponse:
    """Return the answer for whatever is not spelled like a route."""
    return ErrorResponse(404, "There is no such path here.", code="not_found")


def _keys_in(headers: Headers) -> list[str]:
    """Return every key that the headers hold; an unknown scheme counts as wrong.

    Raises:
        Refusal: 400 if one header is there twice, since readers differ on which counts.
    """
    bearers = headers.getall("Authorization", [])
    keys = headers.getall("x-api-key", [])
    if len(bearers) > 1 or len(keys) > 1:
        raise ErrorResponse(400, "The API key was sent more than once.")
    found = [_BEARER.fullmatch(value) for value in bearers]
    return [*keys, *(match[1] if match else "" for match in found)]
