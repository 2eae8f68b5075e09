"""Model names by the engine's rules."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.config.model_name import ModelName
from spicy_avocado_magic.errors import UsageError


@pytest.mark.parametrize(
    ("text", "full", "short"),
    [
        ("llama3", "registry.ollama.ai/library/llama3:latest", "llama3:latest"),
        ("qwen3:8b", "registry.ollama.ai/library/qwen3:8b", "qwen3:8b"),
        ("me/tiny", "registry.ollama.ai/me/tiny:latest", "me/tiny:latest"),
        ("hf.co/U/R.x:Q4_K_M", "hf.co/u/r.x:q4_k_m", "hf.co/U/R.x:Q4_K_M"),
        (
            "localhost:5000/library/tiny",
            "localhost:5000/library/tiny:latest",
            "localhost:5000/library/tiny:latest",
        ),
        ("_a:_b", "registry.ollama.ai/library/_a:_b", "_a:_b"),
    ],
)
def test_what_was_left_out_is_filled_in(text: str, full: str, short: str) -> None:
    """A name has one full form, and the short one by which the engine lists it."""
    name = ModelName.parse(text)
    assert (name.key, name.short) == (full, short)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a b",
        ":8b",
        "a:",
        "a:b:c",
        "/a",
        "a/",
        "a//b",
        "w/x/y/z",
        "-a",
        ".a",
        "../a",
        "a?b",
        "a\n",
        "llamä",
        "dotted.name/tiny",
        "a" * 81,
        "a:" + "b" * 81,
        "a@sha256:0",
        "https://x/y",
    ],
)
def test_what_the_engine_would_refuse_is_refused_first(text: str) -> None:
    """A malformed name costs no download and no start."""
    with pytest.raises(UsageError, match="is not a model name"):
        ModelName.parse(text)


def test_two_spellings_of_a_model_share_a_key() -> None:
    """The engine compares names without case and fills in the same parts."""
    one = ModelName.parse("LLaMA3")
    other = ModelName.parse("registry.ollama.ai/library/llama3:latest")
    assert one.key == other.key
    assert other.short == "llama3:latest"


@pytest.mark.parametrize(
    ("host", "scheme"),
    [
        ("localhost:5000", "http"),
        ("LOCALHOST", "http"),
        ("127.0.0.9:1", "http"),
        ("hf.co", "https"),
        ("localhost.evil.example", "https"),
        ("127.0.0.1.evil.example", "https"),
    ],
)
def test_only_loopback_registries_use_plain_http(host: str, scheme: str) -> None:
    """No name on the network makes a download unencrypted."""
    name = ModelName.parse(f"{host}/a/b")
    assert name.registry_url == f"{scheme}://{host}/v2/a/b"
    assert name.is_insecure == (scheme == "http")
