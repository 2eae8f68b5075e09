"""What registries and engines say, in our words."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.config.model_name import ModelName
from spicy_avocado_magic.engine.hardware.memory_fit import MemoryEstimate, Placement
from spicy_avocado_magic.engine.model_errors import (
    gated_model_error,
    insufficient_memory_error,
    invalid_name_error,
    load_error,
    pull_error,
    unknown_model_error,
)
from spicy_avocado_magic.errors import (
    AvocadoError,
    DiskTooSmall,
    DownloadFailed,
    ModelUnavailable,
    NetworkUnreachable,
)

LLAMA = ModelName.parse("llama3:999b")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("pull model manifest: file does not exist", ModelUnavailable),
        ("pull model manifest: 412: \n\nrequires a newer version", ModelUnavailable),
        ('pull model manifest: 400: {"error":"not a valid quant"}', ModelUnavailable),
        ("unauthorized: access denied", ModelUnavailable),
        ("403: forbidden", ModelUnavailable),
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
    error = unknown_model_error(ModelName.parse(name))
    assert where in error.remedy
    assert "llama3" in error.problem


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("lama3", "Did you mean llama3? Names and tags are listed at"),
        ("qwen3:8", "Did you mean qwen3:8b?"),
        ("somebody/lama3", "Check the name"),
    ],
)
def test_a_misspelt_model_gets_the_nearest_well_known_one(
    name: str, remedy: str
) -> None:
    """Only models of the library are suggested."""
    assert unknown_model_error(ModelName.parse(name)).remedy.startswith(remedy)


@pytest.mark.parametrize("wrap", ['{{"error": "{}"}}', "{}"])
def test_the_error_for_a_missing_quantisation_quotes_the_registry(
    wrap: str,
) -> None:
    """hf.co answers 400 with a reason; the remedy says where they are listed."""
    model = ModelName.parse("hf.co/somebody/llama3-GGUF:Q9")
    text = "The specified tag is not a valid quantization scheme."
    by_us = invalid_name_error(model, wrap.format(text))
    by_engine = pull_error(model, f"pull model manifest: 400: {wrap.format(text)}")
    for error in (by_us, by_engine):
        assert error.problem == f"hf.co refuses {model.short}: {text}"
        assert "quantisation" in error.remedy


def test_a_gated_repository_of_hugging_face_may_not_exist_at_all() -> None:
    """hf.co answers 401 for both; Ollama's library has a status for each."""
    assert "name is wrong" in gated_model_error(ModelName.parse("hf.co/a/b")).remedy
    assert "name is wrong" not in gated_model_error(LLAMA).remedy


@pytest.mark.parametrize("helps", [True, False])
def test_the_error_for_too_little_memory_names_what_helps(helps: bool) -> None:
    """A smaller context is suggested only where it helps."""
    fit = MemoryEstimate(
        verdict=Placement.CANNOT,
        needed_bytes=10**10,
        free_bytes=10**9,
        context=4096,
        less_context_helps=helps,
    )
    error = insufficient_memory_error(LLAMA, fit)
    assert "llama3:999b cannot run: about 10.0 GB" in error.problem
    assert "smaller model or quantisation" in error.remedy
    assert ("--context" in error.remedy) == helps


def test_a_long_error_text_of_the_engine_is_cut() -> None:
    """A message stays short, however long the engine's text is."""
    assert len(str(load_error(LLAMA, 500, "x" * 10_000))) < 400


def test_the_error_of_a_failed_load_has_needed_and_free_memory() -> None:
    """The user can then choose a model that fits."""
    text = "model requires more system memory (8.0 GiB) than is available (5.1 GiB)"
    error = load_error(ModelName.parse("tiny"), 500, text)
    assert "it needs 8.6 GB, and 5.5 GB is free" in error.problem
    error = load_error(ModelName.parse("tiny"), 500, "cudaMalloc failed: out of memory")
    assert error.problem == "There is not enough memory to load tiny:latest."


def test_a_read_only_models_folder_is_an_error_that_is_not_retried() -> None:
    """Another folder is the remedy."""
    text = "open /home/x/.ollama/models/manifests/x: read-only file system"
    error = pull_error(LLAMA, text)
    assert error.permanent, "it is tried again"
    assert "--models-dir" in error.remedy
