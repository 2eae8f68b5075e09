"""Well-known and installed model names, for completion and spelling suggestions.

The list limits nothing: any name of any registry may be used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from ..formatting import closest_match
from ..system.paths import APP, cache_folder
from .model_name import DEFAULT_HOST, DEFAULT_NAMESPACE, DEFAULT_TAG, ModelName

WELL_KNOWN: Final = (
    "llama3",
    "llama3.1",
    "llama3.2",
    "llama3.2:1b",
    "llama3.3",
    "qwen3",
    "qwen3:0.6b",
    "qwen3:4b",
    "qwen3:8b",
    "qwen3:14b",
    "qwen3:30b",
    "qwen3-coder",
    "qwen2.5",
    "qwen2.5:0.5b",
    "qwen2.5-coder",
    "qwen2.5vl",
    "gemma3",
    "gemma3:1b",
    "gemma3:4b",
    "gemma3:12b",
    "gemma3:27b",
    "gemma3n",
    "gpt-oss",
    "gpt-oss:20b",
    "deepseek-r1",
    "deepseek-r1:8b",
    "deepseek-r1:14b",
    "mistral",
    "mistral-small",
    "mistral-nemo",
    "devstral",
    "phi4",
    "phi4-mini",
    "granite3.3",
    "smollm2",
    "smollm2:135m",
    "tinyllama",
    "codellama",
    "llava",
    "nomic-embed-text",
    "mxbai-embed-large",
    "bge-m3",
    "all-minilm",
)
"""From ollama.com/library: popular models that a notebook's GPU can hold."""

_MAX_INSTALLED: Final = 500


def nearest_model(model: ModelName) -> str:
    """Return the well-known name most like a misspelt one, or an empty text."""
    is_library = model.host.lower() == DEFAULT_HOST
    if not is_library or model.namespace.lower() != DEFAULT_NAMESPACE:
        return ""
    typed = without_default_tag(model.short)
    near = closest_match(typed.lower(), [name for name in WELL_KNOWN if name != typed])
    # Of a known model the tag is wrong, so another model is no suggestion.
    is_known = model.model.lower() in WELL_KNOWN
    is_same = near.partition(":")[0] == model.model.lower()
    return near if is_same or not is_known else ""


def installed_models(folders: Sequence[Path]) -> tuple[str, ...]:
    """Return the names of the models in these folders, sorted, without duplicates.

    The engine need not run: a manifest's path is the name
    (``manifest/paths.go`` in github.com/ollama/ollama).
    """
    found = (name for folder in folders for name in _names_in(folder))
    return tuple(sorted(set(islice(found, _MAX_INSTALLED))))


def folders_with_models(
    models_dir: str, environ: Mapping[str, str], scratch: Sequence[str]
) -> tuple[Path, ...]:
    """Return the folders that may hold models, those of rehearsals last."""
    folders = [
        Path(text) for text in (models_dir, environ.get("OLLAMA_MODELS")) if text
    ]
    folders += [Path(place) / f"{APP}-models" for place in scratch]
    folders.append(Path.home() / ".ollama" / "models")
    return (*folders, cache_folder(rehearsal=True) / "models")


def without_default_tag(name: str) -> str:
    """Return a name without the default tag: ``llama3`` for ``llama3:latest``."""
    return name.removesuffix(f":{DEFAULT_TAG}")


def _names_in(folder: Path) -> Iterator[str]:
    for path in folder.glob("manifests/*/*/*/*"):
        host, namespace, model, tag = path.parts[-4:]
        if not any(part.startswith(".") for part in path.parts[-4:]) and path.is_file():
            full = ModelName(host=host, namespace=namespace, model=model, tag=tag)
            yield without_default_tag(full.short)
