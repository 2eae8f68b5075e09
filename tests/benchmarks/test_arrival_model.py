"""The large model is a whole GGUF of the size wanted."""

from __future__ import annotations

from pathlib import Path

import gguf
import pytest

from .arrival_model import write_model


def test_it_is_a_whole_llama_of_the_size_wanted(tmp_path: Path) -> None:
    """Two blocks: every tensor that the architecture wants, and about 100 MB."""
    path = tmp_path / "model.gguf"
    write_model(path, 103_000_000)
    assert path.stat().st_size == pytest.approx(103_000_000, rel=0.1)
    reader = gguf.GGUFReader(path)
    names = {tensor.name for tensor in reader.tensors}
    assert len(names) == 3 + 2 * 9, f"a runner refuses other tensors: {names}"
    blocks = reader.get_field("llama.block_count")
    assert blocks is not None
    assert blocks.contents() == 2
