"""Well-known and installed model names, and suggestions."""

from __future__ import annotations

from pathlib import Path

import pytest

from spicy_avocado_magic.config.model_catalog import (
    WELL_KNOWN,
    folders_with_models,
    installed_models,
    nearest_model,
    without_default_tag,
)
from spicy_avocado_magic.config.model_name import ModelName


def test_every_well_known_name_is_valid_and_unique() -> None:
    """The engine accepts each of them."""
    assert [without_default_tag(ModelName.parse(n).short) for n in WELL_KNOWN] == list(
        WELL_KNOWN
    )
    assert len(set(WELL_KNOWN)) == len(WELL_KNOWN)


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("lama3", "llama3"),
        ("Qwen-3:8b", "qwen3:8b"),
        ("deepseekr1", "deepseek-r1"),
        ("qwen3:8", "qwen3:8b"),
        ("nomic-embed", "nomic-embed-text"),
        ("llama3", ""),
        ("mistral:q4", "mistral"),
        ("llava:qwen", "llava"),
        ("ann/lama3", ""),
        ("hf.co/ann/lama3", ""),
        ("missing-x", ""),
    ],
)
def test_a_misspelt_name_gets_the_closest_match(typed: str, near: str) -> None:
    """Only names of the library, and never the name itself."""
    assert nearest_model(ModelName.parse(typed)) == near


def manifest(folder: Path, *parts: str) -> None:
    """Leave a model's manifest as the engine does."""
    path = folder.joinpath("manifests", *parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")


def test_installed_models_are_read_from_the_manifests(tmp_path: Path) -> None:
    """From all folders, each once, as people type them."""
    first, second = tmp_path / "one", tmp_path / "two"
    for folder in (first, second):
        manifest(folder, "registry.ollama.ai", "library", "llama3", "latest")
    manifest(second, "registry.ollama.ai", "ann", "own", "q4")
    manifest(second, "hf.co", "bart", "Qwen3-GGUF", "Q4_K_M")
    manifest(second, "hf.co", "bart", "Qwen3-GGUF", ".partial")
    (second / "manifests" / "hf.co" / "bart" / "x" / "folder").mkdir(parents=True)
    found = installed_models([first, second, tmp_path / "nowhere"])
    assert found == ("ann/own:q4", "hf.co/bart/Qwen3-GGUF:Q4_K_M", "llama3")


def test_searching_for_models_creates_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pressing Tab leaves nothing on the disk."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    environ = {"OLLAMA_MODELS": str(tmp_path / "elsewhere")}
    folders = folders_with_models("", environ, [str(tmp_path / "scratch")])
    assert folders[0] == tmp_path / "elsewhere"
    assert tmp_path / ".ollama" / "models" in folders
    assert installed_models(folders) == ()
    assert list(tmp_path.iterdir()) == []
