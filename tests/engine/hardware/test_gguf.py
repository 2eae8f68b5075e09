"""What is read of a model's file before it is fetched."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicy_avocado_magic.engine.hardware.gguf import (
    HEAD_BYTES,
    ModelArchitecture,
    read_architecture,
)
from spicy_avocado_magic.rehearsal.fake_downloads.tiny_gguf import tiny_gguf


def head(path: Path, **facts: int | list[int] | list[bool]) -> bytes:
    """Write a model's head with llama.cpp's own writer, and return it."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_string("general.name", "x" * 1000)
    for name, value in facts.items():
        key = f"llama.{name.replace('__', '.')}"
        if isinstance(value, list):
            writer.add_array(key, value)
        else:
            writer.add_uint32(key, value)
    writer.add_token_list([f"<{number}>" for number in range(100_000)])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path.read_bytes()[:HEAD_BYTES]


LLAMA_8B = {
    "block_count": 32,
    "context_length": 8192,
    "embedding_length": 4096,
    "attention__head_count": 32,
    "attention__head_count_kv": 8,
}


@pytest.mark.parametrize(
    ("more", "shape"),
    [
        ({}, ModelArchitecture(values_per_token=32 * 8 * 256, trained_context=8192)),
        (
            {"attention__key_length": 256, "attention__value_length": 128},
            ModelArchitecture(values_per_token=32 * 8 * 384, trained_context=8192),
        ),
        (
            {"attention__head_count_kv": [8, 0, 4, 0]},
            ModelArchitecture(values_per_token=12 * 256, trained_context=8192),
        ),
        (
            {"attention__sliding_window": 512},
            ModelArchitecture(
                values_per_token=65536,
                trained_context=8192,
                window=512,
                whole_share=None,
            ),
        ),
        (
            {
                "attention__sliding_window": 512,
                "attention__sliding_window_pattern": [True, True, True, False],
            },
            ModelArchitecture(
                values_per_token=65536,
                trained_context=8192,
                window=512,
                whole_share=0.25,
            ),
        ),
        (
            {"full_attention_interval": 4},
            ModelArchitecture(
                values_per_token=65536, trained_context=8192, whole_share=0.25
            ),
        ),
    ],
    ids=["llama3", "own lengths", "heads by layer", "window", "pattern", "hybrid"],
)
def test_a_shape_is_read_from_a_real_head(
    tmp_path: Path,
    more: dict[str, int | list[int] | list[bool]],
    shape: ModelArchitecture,
) -> None:
    """The cut through the vocabulary does not hide what stands before it."""
    assert read_architecture(head(tmp_path / "m.gguf", **(LLAMA_8B | more))) == shape


def test_the_rehearsals_model_has_a_shape() -> None:
    """One layer with 4 heads of 16."""
    assert read_architecture(tiny_gguf()[:HEAD_BYTES]) == ModelArchitecture(
        values_per_token=4 * 32, trained_context=2048
    )


def test_a_missing_count_of_key_value_heads_means_all_heads(tmp_path: Path) -> None:
    """Models without grouped attention name one count."""
    facts = {k: v for k, v in LLAMA_8B.items() if not k.endswith("_kv")}
    shape = read_architecture(head(tmp_path / "m.gguf", **facts))
    assert shape is not None
    assert shape.values_per_token == 32 * 32 * 256


def test_a_head_without_the_facts_has_no_shape(tmp_path: Path) -> None:
    """An image or speech model is not estimated wrongly, but not at all."""
    assert read_architecture(head(tmp_path / "m.gguf", block_count=3)) is None
    assert read_architecture(b"") is None
    assert read_architecture(b"<html>" * 100) is None


@settings(deadline=None)
@given(cut=st.integers(0, 2000), noise=st.binary(max_size=64), at=st.integers(0, 1500))
def test_a_damaged_head_is_no_crash(cut: int, noise: bytes, at: int) -> None:
    """What a server sends is not trusted: any bytes give a shape or none."""
    whole = tiny_gguf()[:2000]
    damaged = (whole[:at] + noise + whole[at + len(noise) :])[:cut]
    shape = read_architecture(damaged)
    assert shape is None or isinstance(shape, ModelArchitecture)


def test_another_version_is_not_guessed_at() -> None:
    """Version 1 had shorter lengths, and a later one may have anything."""
    whole = tiny_gguf()[:2000]
    for version in (1, 4):
        assert (
            read_architecture(whole[:4] + struct.pack("<I", version) + whole[8:])
            is None
        )


def test_an_endless_list_costs_nothing() -> None:
    """A count of billions in a few bytes is not believed."""
    key = b"llama.x"
    for kind in (4, 8):
        bomb = b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60)
        bomb += struct.pack("<Q", len(key)) + key
        bomb += struct.pack("<IIQ", 9, kind, 1 << 60)
        assert read_architecture(bomb) is None
