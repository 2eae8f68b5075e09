"""What registries and engines say, in our words."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.engine.refusals import load_error, pull_error, unknown_model
from spicy_avocado_magic.errors import (
    AvocadoError,
    DiskTooSmall,
    DownloadFailed,
    ModelRefused,
    NetworkUnreachable,
)
from spicy_avocado_magic.model_name import ModelName

LLAMA = ModelName.parse("llama3:999b")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("pull model manifest: file does not exist", ModelRefused),
        ("pull model manifest: 412: \n\nrequires a newer version", ModelRefused),
        ("unauthorized: access denied", ModelRefused),
        ("403: forbidden", ModelRefused),
        ("429: too many requests", DownloadFailed),
        ("write /x: no space left on device", DiskTooSmall),
        ("dial tcp: lookup registry.ollama.ai: no such host", NetworkUnreachable),
        ("max retries exceeded: EOF", DownloadFailed),
        ("digest mismatch sha256:412401403429", DownloadFailed),
    ],
)
def test_each_text_of_a_pull_has_its_kind(text: str, kind: type[AvocadoError]) -> None:
    """Numbers inside digests and ports are not statuses."""
    assert type(pull_error(LLAMA, text)) is kind


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("llama3:999b", "ollama.com/library"),
        ("somebody/llama3", "ollama.com/somebody"),
        ("hf.co/somebody/llama3-GGUF:Q9", "quantisation"),
    ],
)
def test_an_unknown_model_says_where_names_are_listed(name: str, where: str) -> None:
    """The remedy fits the registry."""
    error = unknown_model(ModelName.parse(name))
    assert where in error.remedy
    assert "llama3" in error.problem


def test_a_long_text_of_the_engine_is_cut() -> None:
    """A message stays short whatever the engine says."""
    assert len(str(load_error(LLAMA, 500, "x" * 10_000))) < 400
