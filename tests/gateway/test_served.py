"""Which model names are taken for one that is served."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.gateway.refusal import Refusal
from spicy_avocado_magic.gateway.served import ServedModels

SERVED = ServedModels(("tiny", "user/fine:q4", "big:cloud", "big:671b-cloud"))


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
    with pytest.raises(Refusal) as caught:
        SERVED.require("\x1b[31mother" + "x" * 1000)
    assert caught.value.status == 404, "not the status of a missing model"
    assert "tiny:latest, user/fine:q4" in caught.value.message, "models are not named"
    assert "\x1b" not in caught.value.message, "control characters are echoed"
    assert len(caught.value.message) < 300, "a long name is echoed whole"


def test_a_listing_tells_of_served_models_only() -> None:
    """Entries of other models, and what is no entry, are left out."""
    listed = [
        {"name": "tiny:latest"},
        {"model": "other:latest", "name": "tiny:latest"},
        {"id": "user/fine:q4"},
        {"id": "secret:latest"},
        {},
        "tiny",
    ]
    kept = SERVED.only_served(listed)
    assert kept == [listed[0], listed[2]], "the listing tells too much or too little"
    assert SERVED.only_served(None) == [], "an empty listing may be null"
