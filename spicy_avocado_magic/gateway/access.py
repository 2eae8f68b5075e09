"""Who may do what: decided from a request's head, before its body is read."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final

from multidict import CIMultiDict, CIMultiDictProxy

from ..errors import UsageMistake
from ..secrets import Secret
from ..settings import validate_key
from .refusal import Refusal
from .routes import Level, Route, find_route
from .served import ServedModels

Headers = CIMultiDict[str] | CIMultiDictProxy[str]

_LOCAL_HOST: Final = re.compile(
    r"(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE
)
_BEARER: Final = re.compile(r"Bearer +(\S+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What the gateway lets through.

    Attributes:
        key: The owner's key; None only where the user said ``--no-auth``.
        path_key: Whether the key may also be the first part of the path.
        manage: Whether its holder may install, copy and delete models.
        public_host: ``host[:port]`` of the public URL; empty while there is none.
        models: The models that are served.

    Raises:
        UsageMistake: If a key cannot be one, or what needs a key has none.
    """

    key: Secret | None
    path_key: bool = False
    manage: bool = False
    public_host: str = ""
    models: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.key is not None:
            validate_key(self.key.open())
        elif self.path_key or self.manage:
            raise UsageMistake(
                "Without a key there is no path key and no managing of models.",
                "Leave out --no-auth, or --path-key and --manage.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A request that was let in.

    Attributes:
        route: Where it goes.
        path: The target for the engine: free of key and query.
        sent_body: Whether its method has the body which the route tells of.
    """

    route: Route
    path: str
    sent_body: bool


class Gate:
    """An ``Access`` made ready to be asked by every request."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.served = ServedModels(access.models)
        self._public_host = access.public_host.lower()
        key = access.key
        self._digest = None if key is None else _digest(key.open())

    def split(self, target: str) -> tuple[str, str | None]:
        """Return a raw target's path and its path key, which is not yet checked.

        The first part is taken for a key only where the rest is a route.
        """
        path = target.partition("?")[0]
        if self.access.path_key and self._route(path) is None:
            key, slash, rest = path[1:].partition("/")
            if path[:1] == "/" and self._route(slash + rest) is not None:
                return slash + rest, key
        return path, None

    def label(self, path: str) -> str:
        """Return what a path is called in the log; never the path of a stranger."""
        route = self._route(path)
        return "-" if route is None else route.label

    def is_public(self, headers: Headers) -> bool:
        """Tell whether a request names the public host, so came by the tunnel."""
        host = headers.get("Host", "").lower()
        return bool(self._public_host) and host == self._public_host

    def admit(
        self, method: str, path: str, path_key: str | None, headers: Headers
    ) -> Visit:
        """Let a request in, or say why not: Origin, Host, route, method, key.

        Raises:
            Refusal: With the first of these that is wrong.
        """
        if "Origin" in headers:
            raise Refusal(403, "Requests from web pages are not allowed here.")
        self._check_host(headers)
        if "Upgrade" in headers:
            raise Refusal(400, "This server does not switch protocols.")
        route = self._route(path)
        if route is None:
            raise Refusal(404, "There is no such path here.", code="not_found")
        if method == "OPTIONS":
            return Visit(route=route, path=path, sent_body=False)
        if method not in route.methods:
            raise Refusal(
                405,
                f"Use {' or '.join(route.methods)} for this path.",
                headers={"Allow": ", ".join(route.methods)},
            )
        if path_key is not None or route.level is not Level.OPEN:
            self._check_key(path_key, headers)
        return Visit(route=route, path=path, sent_body=method in {"POST", "DELETE"})

    def _route(self, path: str) -> Route | None:
        return find_route(path, self.served.ids, manage=self.access.manage)

    def _check_host(self, headers: Headers) -> None:
        """Refuse a foreign Host: a web page's name may be bound to loopback."""
        hosts = headers.getall("Host", [])
        if len(hosts) != 1 or not (
            self.is_public(headers) or _LOCAL_HOST.fullmatch(hosts[0])
        ):
            raise Refusal(403, "This server does not answer for that host name.")

    def _check_key(self, path_key: str | None, headers: Headers) -> None:
        if self._digest is None:
            return
        keys = _keys_in(headers)
        if path_key is not None:
            keys.append(path_key)
        is_right = [self._is_key(key) for key in keys or [""]]
        if not all(is_right):
            problem = "The API key is wrong." if keys else "An API key is needed."
            raise Refusal(
                401,
                f"{problem} Send it as 'Authorization: Bearer KEY' or 'x-api-key: KEY'",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def _is_key(self, text: str) -> bool:
        """Compare digests, so that neither content nor length shows in the time."""
        assert self._digest is not None
        return hmac.compare_digest(_digest(text), self._digest)


def _keys_in(headers: Headers) -> list[str]:
    """Return every key that the headers hold; an unknown scheme counts as wrong.

    Raises:
        Refusal: 400 if one header is there twice, since readers differ on which counts.
    """
    bearers = headers.getall("Authorization", [])
    keys = headers.getall("x-api-key", [])
    if len(bearers) > 1 or len(keys) > 1:
        raise Refusal(400, "The API key was sent more than once.")
    found = [_BEARER.fullmatch(value) for value in bearers]
    return [*keys, *(match[1] if match else "" for match in found)]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
