"""The gate: who is let in, and the first thing that is wrong with the others."""

from __future__ import annotations

from dataclasses import replace

import pytest
from multidict import CIMultiDict

from spicy_avocado_magic.config.api_keys import ApiKey
from spicy_avocado_magic.errors import UsageError
from spicy_avocado_magic.gateway.authorization import (
    AccessPolicy,
    Authorizer,
    Headers,
)
from spicy_avocado_magic.gateway.error_responses import ErrorResponse
from spicy_avocado_magic.gateway.routes import ALL_ROUTES, Permission
from spicy_avocado_magic.system.redaction import Secret

from .conftest import KEY, OWNER, PUBLIC_HOST, WITH_KEY

DIGEST = "sha256:" + "ab" * 32


def head(*pairs: tuple[str, str], host: str = PUBLIC_HOST) -> Headers:
    """Return a request's headers, ``Host`` first."""
    return CIMultiDict([("Host", host), *pairs])


def status(
    access: AccessPolicy, method: str, target: str, headers: Headers | None = None
) -> int:
    """Return the status that the gate gives; 200 for one that is let in."""
    authorizer = Authorizer(access)
    path, path_key = authorizer.split_path_key(target)
    try:
        authorizer.authorize(
            method, path, path_key, head() if headers is None else headers
        )
    except ErrorResponse as refusal:
        return refusal.status
    return 200


def target_of(label: str) -> str:
    """Return a target for a route."""
    return label.replace("{digest}", DIGEST).replace("{id}", "tiny")


def test_a_key_is_needed_unless_no_key_was_asked_for() -> None:
    """The gateway fails closed: an empty key is a mistake, never an open door."""
    with pytest.raises(UsageError):
        AccessPolicy(key=Secret(""))
    with pytest.raises(UsageError):
        AccessPolicy(key=None, manage=True)
    with pytest.raises(UsageError):
        AccessPolicy(key=None, path_key=True)
    assert AccessPolicy(key=None).key is None, "no key can be asked for"


KEY_STATES = {
    "none": (),
    "wrong": (("Authorization", "Bearer wrong-key-0123456789"),),
    "wrong x-api-key": (("x-api-key", "wrong"),),
    "prefix": (("Authorization", f"Bearer {KEY[:-1]}"),),
    "longer": (("Authorization", f"Bearer {KEY}x"),),
    "another scheme": (("Authorization", f"Basic {KEY}"),),
    "no scheme": (("Authorization", KEY),),
    "empty": (("Authorization", "Bearer "),),
    "conflicting": (("Authorization", f"Bearer {KEY}"), ("x-api-key", "other")),
    "not text": (("x-api-key", "\udcff\udcfe"),),
    "in a cookie": (("Cookie", f"x-api-key={KEY}"),),
}


@pytest.mark.parametrize("headers", KEY_STATES.values(), ids=KEY_STATES)
@pytest.mark.parametrize("route", ALL_ROUTES, ids=lambda route: route.label)
def test_without_the_right_key_nothing_but_the_open_routes_is_reached(
    route: object, headers: tuple[tuple[str, str], ...]
) -> None:
    """Every route, asked with every wrong key, is 401, or open by design."""
    managed = replace(OWNER, manage=True)
    for row in ALL_ROUTES:
        if row is not route:
            continue
        expected = 200 if row.permission is Permission.PUBLIC else 401
        got = status(managed, row.methods[0], target_of(row.label), head(*headers))
        assert got == expected, f"{row.label} was answered with {got}"


@pytest.mark.parametrize(
    "pair",
    [
        ("Authorization", f"Bearer {KEY}"),
        ("authorization", f"bearer  {KEY}"),
        ("X-Api-Key", KEY),
    ],
)
def test_the_right_key_opens(pair: tuple[str, str]) -> None:
    """Bearer and ``x-api-key`` are both understood."""
    assert status(OWNER, "POST", "/api/chat", head(pair)) == 200


def test_the_same_key_may_be_sent_both_ways() -> None:
    """Clients that fill in both headers are let in."""
    headers = head(("Authorization", f"Bearer {KEY}"), ("x-api-key", KEY))
    assert status(OWNER, "POST", "/api/chat", headers) == 200


@pytest.mark.parametrize("name", ["Authorization", "x-api-key"])
def test_a_key_header_that_is_there_twice_is_refused(name: str) -> None:
    """Two readers could pick two keys, so neither counts, though both be right."""
    value = f"Bearer {KEY}" if name == "Authorization" else KEY
    headers = head((name, value), (name, value))
    assert status(OWNER, "POST", "/api/chat", headers) == 400


@pytest.mark.parametrize("route", ALL_ROUTES, ids=lambda route: route.label)
def test_management_is_closed_even_to_the_right_key(route: object) -> None:
    """Unless the owner asked for it, what changes things does not exist."""
    for row in ALL_ROUTES:
        if row is route:
            expected = 404 if row.permission is Permission.MANAGE else 200
            for method in row.methods:
                got = status(
                    OWNER, method, target_of(row.label), head(*WITH_KEY.items())
                )
                assert got == expected, f"{method} {row.label} gave {got}"


def test_a_wrong_method_is_405_with_the_allowed_ones() -> None:
    """405 names what the route has; an override in a header is not looked at."""
    override = head(*WITH_KEY.items(), ("X-HTTP-Method-Override", "POST"))
    authorizer = Authorizer(OWNER)
    for method in ("GET", "PUT", "PATCH", "TRACE", "CONNECT"):
        with pytest.raises(ErrorResponse) as caught:
            authorizer.authorize(method, "/api/chat", None, override)
        assert caught.value.status == 405, f"{method} was let in"
        assert caught.value.headers["Allow"] == "POST", (
            "the right method is not in the response"
        )


@pytest.mark.parametrize(
    "host",
    [
        PUBLIC_HOST,
        PUBLIC_HOST.upper(),
        "localhost",
        "LocalHost:1",
        "127.0.0.1:11434",
        "127.9.9.9",
        "[::1]:80",
    ],
)
def test_the_public_host_and_loopback_are_answered_for(host: str) -> None:
    """These are the names under which the gateway can rightly be reached."""
    assert status(OWNER, "GET", "/", head(host=host)) == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        f"x{PUBLIC_HOST}",
        f"{PUBLIC_HOST}.evil.example",
        f"{PUBLIC_HOST}:1",
        "localhost.evil.example",
        "localhost:x",
        "localhost:80:80",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "128.0.0.1",
        "0.0.0.0",
        "10.0.0.1",
        "\u0661\u0662\u0667.0.0.1",
    ],
)
def test_a_foreign_host_is_refused(host: str) -> None:
    """A name that a web page may bind to loopback is not ours, whatever the key."""
    for access in (OWNER, AccessPolicy(key=None, public_host=PUBLIC_HOST)):
        headers = head(*WITH_KEY.items(), host=host)
        assert status(access, "GET", "/", headers) == 403, f"{host!r} was let in"


def test_before_there_is_a_public_url_no_name_is_public() -> None:
    """An empty public host matches no request."""
    access = replace(OWNER, public_host="")
    assert status(access, "GET", "/", CIMultiDict()) == 403, "no Host was let in"
    assert status(access, "GET", "/", head(host="")) == 403, "an empty one was"
    assert not Authorizer(access).is_public(CIMultiDict()), "no Host counts as public"


def test_two_hosts_are_one_too_many() -> None:
    """Two readers could pick two hosts."""
    headers = head(("Host", "localhost"))
    assert status(OWNER, "GET", "/", headers) == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_web_pages_are_refused_first_of_all(method: str, origin: str) -> None:
    """Any Origin ends it, with a key and without, before the path is looked at."""
    for access in (OWNER, AccessPolicy(key=None, public_host=PUBLIC_HOST)):
        headers = head(("Origin", origin), *WITH_KEY.items(), host="evil.example")
        assert status(access, method, "/none", headers) == 403, "a page was let in"


def test_upgrades_are_refused() -> None:
    """No connection leaves HTTP/1.1."""
    for protocol in ("websocket", "h2c"):
        headers = head(("Upgrade", protocol), ("Connection", "Upgrade"))
        assert status(OWNER, "GET", "/", headers) == 400, f"{protocol} was let in"


def test_options_is_answered_without_a_key() -> None:
    """The response lists the methods of an existing route, and nothing more."""
    assert status(OWNER, "OPTIONS", "/api/chat") == 200
    assert status(OWNER, "OPTIONS", "/api/pull") == 404


PATH_KEYED = replace(OWNER, path_key=True)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (f"/{KEY}/", "/"),
        (f"/{KEY}/api/chat?x=1", "/api/chat"),
        (f"/{KEY}/v1/models/tiny", "/v1/models/tiny"),
        ("/wrong-key/api/chat", "/api/chat"),
        ("/wrong-key/", "/"),
        ("/api/tags", "/api/tags"),
        (f"/{KEY}", f"/{KEY}"),
        (f"/{KEY}//", f"/{KEY}//"),
        (f"/{KEY}/{KEY}/", f"/{KEY}/{KEY}/"),
        (f"x{KEY}/", f"x{KEY}/"),
    ],
)
def test_a_path_key_is_taken_off_where_the_rest_is_a_route(
    target: str, path: str
) -> None:
    """What goes on is the route; the key stays here."""
    assert Authorizer(PATH_KEYED).split_path_key(target)[0] == path


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("HEAD", f"/{KEY}/", 200),
        ("POST", f"/{KEY}/api/chat", 200),
        ("POST", "/wrong-key/api/chat", 401),
        ("HEAD", "/wrong-key/", 401),
        ("HEAD", "//", 404),
        ("POST", "//api/chat", 404),
        ("POST", "/./api/chat", 404),
        ("GET", "/v1/", 404),
        ("POST", f"/{KEY.upper()}/api/chat", 401),
        ("POST", f"/{KEY}/api/pull", 404),
        ("POST", f"/{KEY}", 404),
        ("POST", f"/{KEY}/{KEY}/api/chat", 404),
        ("POST", f"/{KEY}//api/chat", 404),
        ("POST", f"/%72{KEY[1:]}/api/chat", 404),
    ],
)
def test_a_path_key_is_a_key_like_any_other(
    method: str, target: str, expected: int
) -> None:
    """It opens what a header would open; what cannot be a key is another spelling."""
    assert status(PATH_KEYED, method, target) == expected, f"{target} differs"


def test_a_path_key_has_no_meaning_unless_it_was_asked_for() -> None:
    """By default a key in the path is an unknown path."""
    assert status(OWNER, "POST", f"/{KEY}/api/chat") == 404


def test_a_wrong_key_beside_a_right_path_key_is_refused() -> None:
    """Every key that is sent must be right."""
    headers = head(("x-api-key", "wrong"))
    assert status(PATH_KEYED, "POST", f"/{KEY}/api/chat", headers) == 401


def test_without_a_key_any_caller_is_served_but_no_page() -> None:
    """``--no-auth`` opens the routes, not the door to browsers or management."""
    anyone = AccessPolicy(key=None, public_host=PUBLIC_HOST, models=("tiny",))
    assert status(anyone, "POST", "/api/chat") == 200
    assert status(anyone, "POST", "/api/pull") == 404


def test_the_log_has_the_route_and_never_an_unknown_path() -> None:
    """An unknown path may contain a key."""
    authorizer = Authorizer(PATH_KEYED)
    assert authorizer.route("/api/chat").label == "/api/chat"
    assert authorizer.route("/v1/models/tiny").label == "/v1/models/{id}"
    assert authorizer.route(f"/{KEY}/nowhere").label == "-"


SHARED = replace(
    OWNER,
    manage=True,
    named=(
        ApiKey(name="ana", secret="anas-key-0123456789", models=("tiny",)),
        ApiKey(name="bo", secret="bos-key-01234567890", manage=True),
        ApiKey(name="old", secret="old-key-01234567890", expires_at=1.0),
    ),
)


def with_key(secret: str) -> Headers:
    """Return the head of a request with a key."""
    return head(("x-api-key", secret))


@pytest.mark.parametrize("route", ALL_ROUTES, ids=lambda route: route.label)
def test_a_named_key_manages_only_if_it_was_made_to(route: object) -> None:
    """Where the owner may: 403 for all other keys."""
    for row in ALL_ROUTES:
        if row is not route:
            continue
        for key, may in (
            (KEY, True),
            (SHARED.named[0], False),
            (SHARED.named[1], True),
        ):
            secret = key if isinstance(key, str) else key.secret
            for method in row.methods:
                closed = row.permission is Permission.MANAGE and not may
                got = status(SHARED, method, target_of(row.label), with_key(secret))
                assert got == (403 if closed else 200), f"{method} {row.label}: {got}"
    closed_again = replace(SHARED, manage=False)
    assert (
        status(closed_again, "POST", "/api/pull", with_key("bos-key-01234567890"))
        == 404
    )


def test_an_expired_key_opens_nothing() -> None:
    """It is as good as a wrong one."""
    assert status(SHARED, "GET", "/api/tags", with_key("old-key-01234567890")) == 401


def test_the_key_decides_models_and_management() -> None:
    """Registries are the same for all keys."""
    authorizer = Authorizer(replace(SHARED, registries=("mine.example",)))
    ana, bo, owner = (
        authorizer.authorize("POST", "/api/chat", None, with_key(secret))
        for secret in ("anas-key-0123456789", "bos-key-01234567890", KEY)
    )
    assert not authorizer.models_of(ana).has("user/fine:q4"), (
        "a restricted key has more"
    )
    assert authorizer.models_of(bo).has("user/fine:q4"), "an unrestricted key has less"
    assert authorizer.models_of(owner).has("user/fine:q4"), "the owner has less"
    manage = [caller is not None and caller.manage for caller in (ana, bo, owner)]
    assert manage == [False, True, True]
    for caller in (ana, owner):
        assert authorizer.models_of(caller).registries == ("mine.example",)
    assert authorizer.authorize("GET", "/", None, head()) is None, (
        "a public route has a key"
    )


def test_a_restricted_key_sees_only_its_own_models_by_id() -> None:
    """Another one is 404, as if it were not there."""
    two = replace(SHARED, models=("tiny", "other"))
    for secret, expected in (("anas-key-0123456789", 404), (KEY, 200)):
        assert status(two, "GET", "/v1/models/tiny", with_key(secret)) == 200
        assert status(two, "GET", "/v1/models/other", with_key(secret)) == expected


def test_a_page_that_was_named_is_let_in_and_no_other() -> None:
    """``--cors`` opens the door to one origin; the key is asked for all the same."""
    access = replace(OWNER, cors=("https://app.example",))
    page = ("Origin", "https://app.example")
    assert status(access, "GET", "/api/tags", head(page, *WITH_KEY.items())) == 200
    assert status(access, "GET", "/api/tags", head(page)) == 401
    assert status(access, "OPTIONS", "/api/chat", head(page)) == 200
    other = ("Origin", "https://evil.example")
    assert status(access, "GET", "/api/tags", head(other, *WITH_KEY.items())) == 403
    assert status(access, "OPTIONS", "/api/chat", head(other)) == 403
    assert status(access, "GET", "/", head(page, other)) == 403, "two origins"
    authorizer = Authorizer(access)
    assert authorizer.cors(head(page))["Access-Control-Allow-Origin"] == page[1]
    assert not authorizer.cors(head(other)), "another page may read the refusal"
    assert not authorizer.cors(head()), "a request without Origin gets CORS headers"


def test_under_no_auth_pages_and_hosts_are_still_checked() -> None:
    """Any page may be named by ``*``, but a foreign Host is still refused."""
    anyone = AccessPolicy(key=None, public_host=PUBLIC_HOST, cors=("*",))
    page = ("Origin", "null")
    assert status(anyone, "GET", "/api/tags", head(page)) == 200
    assert status(anyone, "GET", "/api/tags", head(page, host="evil.example")) == 403


def test_the_public_host_may_be_given_in_any_case() -> None:
    """Hosts have none."""
    access = replace(OWNER, public_host=PUBLIC_HOST.upper())
    assert status(access, "GET", "/", head()) == 200
