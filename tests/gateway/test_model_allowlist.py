"""Which model names are taken for one that is served."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.gateway.error_responses import ErrorResponse
from spicy_avocado_magic.gateway.model_allowlist import ModelAllowlist

SERVED = ModelAllowlist(("tiny", "user/fine:q4", "big:cloud", "big:671b-cloud"))


@pytest.mark.parametrize(
    "name",
    [
        "tiny",
        "tiny:latest",
        "TINY",
        "library/tiny",
        "registry.ollama.ai/library/tiny:latest",
        "User/Fine:Q4",
    ],
)
def test_the_engines_spellings_of_a_served_model_are_accepted(name: str) -> None:
    """Case, default tag, namespace and host do not matter, as in the engine."""
    assert SERVED.has(name), f"{name} was not recognised"


@pytest.mark.parametrize(
    "name",
    [
        "other",
        "tiny:other",
        "tin",
        "tiny ",
        "tiny\n",
        "tiny:latest:cloud",
        "tiny:cloud",
        "../tiny",
        "https://evil.example/library/tiny",
        "evil.example/library/tiny",
        "tiny@sha256:00",
        "",
    ],
)
def test_any_other_name_is_not_served(name: str) -> None:
    """What the engine would take for something else, or for nothing, is not served."""
    assert not SERVED.has(name), f"{name!r} passed for a served model"


@pytest.mark.parametrize("name", ["big:cloud", "big:671b-cloud", "BIG:Cloud"])
def test_a_cloud_model_is_never_served(name: str) -> None:
    """A call that would be signed with the machine's account is refused."""
    assert not SERVED.has(name), f"{name} would be passed on to ollama.com"


def test_a_refusal_names_the_models_that_are_served() -> None:
    """Whoever asks for a wrong model reads which ones there are, in plain text."""
    with pytest.raises(ErrorResponse) as caught:
        SERVED.require("\x1b[31mother" + "x" * 1000)
    assert caught.value.status == 404, "not the status of a missing model"
    assert "tiny:latest, user/fine:q4" in caught.value.message, "models are not named"
    assert "\x1b" not in caught.value.message, "control characters are echoed"
    assert len(caught.value.message) < 300, "a long name is echoed whole"


def test_a_listing_has_served_models_only() -> None:
    """Entries of other models, and what is no entry, are left out."""
    listed = [
        {"name": "tiny:latest"},
        {"model": "other:latest", "name": "tiny:latest"},
        {"id": "user/fine:q4"},
        {"id": "secret:latest"},
        {},
        "tiny",
    ]
    kept = SERVED.filter_listing(listed)
    assert kept == [listed[0], listed[2]], "the listing reveals too much or too little"
    assert SERVED.filter_listing(None) == [], "an empty listing may be null"


def test_any_model_serves_all_but_those_of_the_cloud() -> None:
    """``--any-model`` opens what is installed, not the machine's account."""
    everything = ModelAllowlist(("tiny",), any_model=True)
    for name in ("tiny", "other", "user/x:q4", "hf.co/user/repo:Q4"):
        assert everything.has(name), f"{name} is not served"
    for name in ("other:cloud", "gpt-oss:120b-CLOUD", "a b", ""):
        assert not everything.has(name), f"{name!r} is served"
    listed = [{"name": "other:latest"}, {"name": "x:cloud"}]
    assert everything.filter_listing(listed) == listed[:1]


@pytest.mark.parametrize("any_model", [False, True])
def test_a_restriction_takes_away_and_never_adds(any_model: object) -> None:
    """A key for some models has those of them that are served."""
    served = ModelAllowlist(("tiny", "user/fine:q4"), any_model=bool(any_model))
    only = served.restricted(("TINY", "third", "big:cloud"))
    assert only.has("library/tiny:latest"), "its own model is not served"
    assert not only.has("user/fine:q4"), "another model is served"
    assert only.has("third") is any_model, "what is not served became so, or not"
    assert not only.has("big:cloud"), "a cloud model is served"
    with pytest.raises(ErrorResponse) as caught:
        only.require("user/fine:q4")
    assert "user/fine" not in caught.value.message.partition(";")[2], (
        "others are listed"
    )
    assert "tiny:latest" in caught.value.message, "its own are not listed"


def test_no_restriction_is_none() -> None:
    """A key without ``--models`` has what everybody has."""
    assert SERVED.restricted(()).has("user/fine:q4"), "it has less"
    assert ModelAllowlist((), any_model=True).restricted(()).has("x"), "it has less"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tiny", True),
        ("tiny:latest", True),
        ("TINY", True),
        ("library/tiny", False),
        ("user/fine:q4", False),
        ("other", False),
        ("", False),
        ("tiny%3Alatest", False),
        (".", False),
        ("..", False),
        ("tiny\n", False),
    ],
)
def test_an_id_has_two_spellings(text: str, expected: object) -> None:
    """``/v1/models/{id}``: as it is listed, or without the usual tag, in any case."""
    assert SERVED.has_id(text) is expected, f"{text!r}"


def test_what_is_no_entry_is_no_model() -> None:
    """Nor where all models are served, is a missing name one."""
    everything = ModelAllowlist((), any_model=True)
    assert everything.filter_listing([{}, {"name": None}, 1, None]) == []


def test_while_nothing_is_served_a_refusal_says_so() -> None:
    """There is no name to give."""
    with pytest.raises(ErrorResponse, match="none yet"):
        ModelAllowlist(()).require("tiny")


def test_a_model_that_is_on_its_way_is_asked_for_again() -> None:
    """404 would stop a client from trying again."""
    served = ModelAllowlist(("tiny",), awaited=("tiny", "big"))
    with pytest.raises(ErrorResponse) as refused:
        served.require("big:latest")
    assert refused.value.status == 503, "a model that is loading is 404"
    assert "Retry-After" in refused.value.headers
    with pytest.raises(ErrorResponse) as unknown:
        served.restricted(("tiny",)).require("big")
    assert unknown.value.status == 404, "a restricted key learns of other models"
