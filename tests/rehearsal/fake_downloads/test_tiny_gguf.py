"""The tiny model is a proper GGUF, the same everywhere."""

from __future__ import annotations

import hashlib
from pathlib import Path

from gguf import GGUFReader

from spicy_avocado_magic.rehearsal.fake_downloads.tiny_gguf import tiny_gguf


def test_the_file_is_the_same_on_every_machine() -> None:
    """Its digest is known, so that nothing of the platform leaks into it."""
    found = hashlib.sha256(tiny_gguf()).hexdigest()
    assert found == "95b78e523dc7d736a9a0c153145696b7f2b7a6cd104e2b62a44e2346426eb05c"


def test_the_reference_reader_finds_all_tensors(tmp_path: Path) -> None:
    """PyPI's ``gguf`` reads one block, both embeddings and 259 tokens."""
    path = tmp_path / "tiny.gguf"
    path.write_bytes(tiny_gguf())
    reader = GGUFReader(path)
    shapes = {tensor.name: list(tensor.shape) for tensor in reader.tensors}
    assert len(shapes) == 12, f"unexpected tensors: {sorted(shapes)}"
    assert shapes["token_embd.weight"] == shapes["output.weight"] == [64, 259]
    tokens = reader.fields["tokenizer.ggml.tokens"]
    assert len(tokens.data) == 259, "the vocabulary lost tokens"
