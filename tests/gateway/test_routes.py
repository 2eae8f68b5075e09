"""The table of routes: what exists, in which spelling, for whom."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.gateway.routes import ALL_ROUTES, Permission, find_route

IDS = frozenset({"tiny:latest", "tiny"})
HAS = IDS.__contains__
DIGEST = "sha256:" + "ab" * 32
NEVER = (
    "/api/me",
    "/api/signout",
    "/api/user/keys/abc",
    "/api/experimental/web_search",
    "/api/experimental/web_fetch",
    "/api/experimental/model-recommendations",
    "/v1/audio/translations",
    "/v1/responses/compact",
    "/metrics",
    "/debug/pprof",
)
MISSPELT = (
    "",
    "//",
    "/api",
    "/api/",
    "/api/tags/",
    "//api/tags",
    "/api//tags",
    "/API/tags",
    "/api/Tags",
    "/api/%74ags",
    "/api/./tags",
    "/api/x/../tags",
    "/api/tags;x",
    "/api/tags#x",
    "/api/tags\x00",
    " /api/tags",
    "/api\\tags",
    "http://localhost/api/tags",
    "*",
    "/v1/models/",
    "/v1/models/other",
    "/v1/models/TINY",
    "/v1/models/tiny%3Alatest",
    "/api/blobs/" + DIGEST.upper(),
    "/api/blobs/" + DIGEST[:-1],
    "/api/blobs/" + DIGEST + "/",
    "/api/blobs/" + DIGEST + "\n",
    "/api/blobs/sha256-" + "ab" * 32,
)


@pytest.mark.parametrize("path", NEVER)
def test_what_acts_for_the_machines_account_never_exists(path: str) -> None:
    """No setting opens a route that the product does not pass on."""
    assert find_route(path, HAS, manage=True) is None, f"{path} is open"


@pytest.mark.parametrize("path", MISSPELT)
def test_another_spelling_of_a_route_is_no_route(path: str) -> None:
    """Nothing is normalised: a path is a route byte for byte, or none."""
    assert find_route(path, HAS, manage=True) is None, f"{path!r} was taken for a route"


def test_what_changes_things_exists_for_those_who_manage_only() -> None:
    """Pull, push, create, copy, delete and blobs are closed by default."""
    for path in (
        "/api/pull",
        "/api/push",
        "/api/create",
        "/api/copy",
        "/api/delete",
        f"/api/blobs/{DIGEST}",
    ):
        assert find_route(path, HAS, manage=False) is None, f"{path} is open to all"
        assert find_route(path, HAS, manage=True) is not None, f"{path} is missing"


def test_only_the_greeting_and_the_version_need_no_key() -> None:
    """Without a key, only the server and its version are visible."""
    open_routes = {r.label for r in ALL_ROUTES if r.permission is Permission.PUBLIC}
    assert open_routes == {"/", "/api/version"}, "the set of open routes has changed"


def test_a_served_model_has_its_page() -> None:
    """Both spellings of a served model's id exist under ``/v1/models``."""
    for name in IDS:
        assert find_route(f"/v1/models/{name}", HAS, manage=False), f"no {name}"


TABLE = """
    GET,HEAD / public
    GET,HEAD /api/version public
    GET /api/status key
    GET,HEAD /api/tags key
    GET /api/ps key
    GET /v1/models key
    POST /api/generate key
    POST /api/chat key
    POST /api/embed key
    POST /api/embeddings key
    POST /api/show key
    POST /v1/chat/completions key
    POST /v1/completions key
    POST /v1/embeddings key
    POST /v1/responses key
    POST /v1/messages key
    POST /v1/audio/transcriptions key
    POST /api/pull manage
    POST /api/push manage
    POST /api/create manage
    POST /api/copy manage
    DELETE /api/delete manage
    HEAD,POST /api/blobs/{digest} manage
    GET /v1/models/{id} key
"""


def test_the_table_is_this_and_no_more() -> None:
    """A route that is added, lost or opened is seen here."""
    rows = [f"{','.join(r.methods)} {r.label} {r.permission.value}" for r in ALL_ROUTES]
    assert sorted(rows) == sorted(row.strip() for row in TABLE.strip().splitlines())
