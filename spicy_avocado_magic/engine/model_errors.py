"""Errors for the statuses of a registry and the error texts of the engine."""

from __future__ import annotations

import re
from typing import Final

from ..config.model_catalog import nearest_model
from ..config.model_name import DEFAULT_HOST, ModelName
from ..errors import (
    AvocadoError,
    DiskTooSmall,
    DownloadFailed,
    EngineFailed,
    MemoryTooSmall,
    ModelUnavailable,
    NetworkUnreachable,
    PlatformUnsupported,
)
from ..formatting import with_decimal_sizes
from ..protocol.error_shapes import error_message
from ..system.redaction import strip_control_chars
from .hardware.memory_fit import MemoryEstimate

_SHOWN: Final = 200
_STATUS: Final = re.compile(r"(?:^|: )([45]\d\d): ")
"""A status as ``makeRequestWithRetry`` (server/images.go in ollama/ollama) words it."""

_UNREACHABLE: Final = (
    "dial tcp",
    "no such host",
    "connection refused",
    "network is unreachable",
    "i/o timeout",
)
_SIZES: Final = re.compile(r"\(([\d.]+ [KMGT]i?B)\) than is available \(([^)]+)\)")
"""Needed and free memory, as Ollama words it since 0.6 at least."""
_OUT_OF_MEMORY: Final = (
    "out of memory",
    "requires more system memory",
    "cudamalloc failed",
    "unable to allocate",
    "failed to allocate",
    "signal: killed",
)


def unknown_model_error(model: ModelName) -> ModelUnavailable:
    """Return the error for a model that its registry does not have."""
    if model.host.lower() == DEFAULT_HOST:
        where = "ollama.com/library"
        if model.namespace != "library":
            where = f"ollama.com/{model.namespace}"
        near = nearest_model(model)
        remedy = f"Check the name and the tag after the colon at {where}."
        if near:
            remedy = f"Did you mean {near}? Names and tags are listed at {where}."
        return ModelUnavailable(
            f"There is no model {model.short} in Ollama's library.", remedy
        )
    return ModelUnavailable(
        f"{model.host} has no model {model.namespace}/{model.model}:{model.tag}.",
        "Check user, repository and the part after the colon (the quantisation).",
    )


def invalid_name_error(model: ModelName, body: str) -> ModelUnavailable:
    """Return the error for a name that a registry answers with HTTP 400.

    hf.co does so for a quantisation that the repository lacks, a sharded file, or a
    repository without GGUF files (huggingface/hub-docs#1476, #2702).
    """
    message = _shown(error_message(body) or body.strip())
    return ModelUnavailable(
        f"{model.host} refuses {model.short}: {message or 'HTTP 400'}",
        "Check the part after the colon (the quantisation) against those listed on "
        "the repository's page.",
    )


def gated_model_error(model: ModelName) -> ModelUnavailable:
    """Return the error for a model that only some accounts may pull."""
    if model.host.lower() == DEFAULT_HOST:
        remedy = "It is private or gated: choose a public model."
    else:
        # hf.co gives the same answer for a repository that does not exist.
        remedy = "It is private or gated, or the name is wrong: choose a public one."
    return ModelUnavailable(
        f"{model.host} does not give public access to {model.short}.", remedy
    )


def newer_engine_error(model: ModelName) -> ModelUnavailable:
    """Return the error for a model that this engine cannot run."""
    return ModelUnavailable(
        f"{model.short} needs a newer Ollama than this one.",
        "Run %avocado_up --ollama-version latest --restart.",
    )


def rate_limited_error(model: ModelName) -> DownloadFailed:
    """Return the error for a registry's HTTP 429."""
    return DownloadFailed(
        f"{model.host} got too many requests from here (HTTP 429).",
        "Wait some minutes and run %avocado_up again.",
    )


def insufficient_memory_error(model: ModelName, fit: MemoryEstimate) -> MemoryTooSmall:
    """Return the error for a model that this machine has too little memory for."""
    remedy = "Choose a smaller model or quantisation"
    if fit.less_context_helps:
        remedy += ", or a smaller --context or OLLAMA_NUM_PARALLEL"
    return MemoryTooSmall(f"{model.short} {fit.text}.", remedy + ".")


def pull_error(model: ModelName, text: str) -> AvocadoError:
    """Return the error for an error text of the engine's own pull."""
    lower = text.lower()
    match = _STATUS.search(text)
    status = match[1] if match else ""
    if "file does not exist" in lower or "model not found" in lower:
        return unknown_model_error(model)
    if status == "412" or "newer version" in lower:
        return newer_engine_error(model)
    if status == "400":
        return invalid_name_error(model, text[match.end() :] if match else text)
    if "unauthorized" in lower or status in {"401", "403"}:
        return gated_model_error(model)
    if status == "429":
        return rate_limited_error(model)
    if (disk := _disk_error(model, lower)) is not None:
        return disk
    if any(sign in lower for sign in _UNREACHABLE):
        return NetworkUnreachable(
            f"The registry {model.host} cannot be reached.",
            "Check this notebook's internet access and its proxy variables.",
        )
    return DownloadFailed(
        f"Ollama could not pull {model.short}: {_shown(text)}",
        "Run %avocado_up again: the download is resumed.",
    )


def _disk_error(model: ModelName, lower: str) -> AvocadoError | None:
    if "no space left" in lower:
        return DiskTooSmall(
            f"The disk is too small for {model.short}.",
            "Free some space, choose a smaller model, or use --models-dir.",
        )
    if "read-only file system" in lower:
        return PlatformUnsupported(
            f"{model.short} cannot be stored: the models folder is read-only.",
            "Choose a writable folder with --models-dir.",
        )
    return None


def load_error(model: ModelName, status: int, body: str) -> AvocadoError:
    """Return the error for a response of the engine that is not 200."""
    text = error_message(body) or body.strip()
    lower = text.lower()
    if status == 404:  # noqa: PLR2004  (HTTP's "not found")
        return ModelUnavailable(
            f"{model.short} is not installed.", f"Run %avocado_up {model.short}."
        )
    if status == 403:  # noqa: PLR2004  (what a switched-off cloud answers)
        return ModelUnavailable(
            f"{model.short} runs in Ollama's cloud, which is switched off here.",
            "Choose a model that runs on this machine.",
        )
    if any(sign in lower for sign in _OUT_OF_MEMORY):
        sizes = _SIZES.search(text)
        amounts = f": it needs {sizes[1]}, and {sizes[2]} is free" if sizes else ""
        return EngineFailed(
            f"There is not enough memory to load {model.short}"
            f"{with_decimal_sizes(amounts)}.",
            "Choose a smaller model or quantisation, or a smaller --context.",
        )
    if "terminated" in lower or "exit status" in lower or "signal:" in lower:
        return EngineFailed(
            f"The engine crashed while it loaded {model.short}: {_shown(text)}",
            "Try a smaller --context, another model, or --ollama-version latest.",
        )
    return EngineFailed(
        f"{model.short} cannot be loaded: {_shown(text)}",
        "Try another model, or --ollama-version latest.",
    )


def engine_unreachable_error(error: Exception) -> EngineFailed:
    """Return the error for an engine that does not answer."""
    return EngineFailed(
        f"Ollama does not answer ({type(error).__name__}).",
        "It is restarted automatically; %avocado_status shows its log.",
    )


def _shown(text: str) -> str:
    return strip_control_chars(text)[:_SHOWN]
