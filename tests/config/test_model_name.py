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
def test_omitted_parts_get_their_defaults(text: str, full: str, short: str) -> None:
    """A name has one full form, and a short one as the engine lists it."""
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
def test_a_name_that_the_engine_would_refuse_is_refused(text: str) -> None:
    """Before any download or start."""
    with pytest.raises(UsageError, match="is not a model name"):
        ModelName.parse(text)


def test_two_spellings_of_a_model_share_a_key() -> None:
    """The engine ignores case and fills in the same defaults."""
    name = ModelName.parse("LLaMA3")
    other = ModelName.parse("registry.ollama.ai/library/llama3:latest")
    assert name.key == other.key
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
    """No download over the network is unencrypted."""
    name = ModelName.parse(f"{host}/a/b")
    assert name.registry_url == f"{scheme}://{host}/v2/a/b"
    assert name.is_insecure == (scheme == "http")
