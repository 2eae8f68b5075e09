"""The models folder is laid out as Ollama's, and shared blobs are kept."""

from __future__ import annotations

import json
from pathlib import Path

from spicy_avocado_magic.config.model_name import ModelName
from spicy_avocado_magic.rehearsal.fake_ollama.store import Store

WEIGHTS = "application/vnd.ollama.image.model"


def _manifest(store: Store, *blobs: str) -> bytes:
    parts = [{"mediaType": WEIGHTS, "digest": f"sha256:{b}", "size": 1} for b in blobs]
    for blob in blobs:
        store.blob_path(f"sha256:{blob}").touch()
    return json.dumps({"layers": parts[1:], "config": parts[0]}).encode()


def test_manifests_lie_where_ollama_looks(tmp_path: Path) -> None:
    """Host, namespace, model and tag are folders; blobs have a dash."""
    store = Store(tmp_path)
    name = ModelName.parse("127.0.0.1:5000/library/tiny:1b")
    store.write(name, _manifest(store, "aa", "bb"))
    assert (tmp_path / "manifests/127.0.0.1:5000/library/tiny/1b").is_file()
    assert (tmp_path / "blobs/sha256-aa").is_file()


def test_a_name_is_found_in_any_spelling(tmp_path: Path) -> None:
    """Case, default tag and default namespace make no difference."""
    store = Store(tmp_path)
    store.write(ModelName.parse("tiny"), _manifest(store, "aa", "bb"))
    for spelling in ("tiny", "TINY:latest", "library/tiny"):
        assert store.find(spelling) is not None, f"{spelling} was not found"
    assert store.find("tiny:other") is None
    assert store.find("no name at all") is None


def test_a_blob_goes_with_its_last_model(tmp_path: Path) -> None:
    """Deleting one of two models keeps what they share."""
    store = Store(tmp_path)
    store.write(ModelName.parse("instance"), _manifest(store, "aa", "shared"))
    store.write(ModelName.parse("two"), _manifest(store, "bb", "shared"))
    instance, two = store.find("instance"), store.find("two")
    assert instance is not None
    assert two is not None
    store.delete(instance)
    left = {path.name for path in (tmp_path / "blobs").iterdir()}
    assert left == {"sha256-bb", "sha256-shared"}
    store.delete(two)
    assert not list((tmp_path / "blobs").iterdir()), "a blob of no model stayed"
