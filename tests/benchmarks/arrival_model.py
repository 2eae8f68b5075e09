"""A model of some hundred megabytes that a real engine loads: wide, shallow, dumb."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np

_EMBEDDING: Final = 1024
_FEED_FORWARD: Final = 2816
_CONTEXT: Final = 2048
_HEADS: Final = 16
_SPECIAL: Final = ("<unk>", "<s>", "</s>")
_BLOCK_BYTES: Final = 4 * (4 * _EMBEDDING**2 + 3 * _EMBEDDING * _FEED_FORWARD)


def write_model(path: Path, size_bytes: int) -> None:
    """Write a GGUF of about ``size_bytes``, to half a block (25 MB)."""
    blocks = max(1, round(size_bytes / _BLOCK_BYTES))
    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer, blocks)
    chance = np.random.default_rng(400)
    tokens = len(_SPECIAL) + 256
    # All blocks share their numbers: a registry does not compress, so no byte less.
    square = _numbers(chance, _EMBEDDING, _EMBEDDING)
    up = _numbers(chance, _FEED_FORWARD, _EMBEDDING)
    flat = np.ones(_EMBEDDING, dtype=np.float32)
    words = _numbers(chance, tokens, _EMBEDDING)
    writer.add_tensor("token_embd.weight", words)
    for block in range(blocks):
        name = f"blk.{block}"
        writer.add_tensor(f"{name}.attn_norm.weight", flat)
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"{name}.{part}.weight", square)
        writer.add_tensor(f"{name}.ffn_norm.weight", flat)
        writer.add_tensor(f"{name}.ffn_gate.weight", up)
        writer.add_tensor(f"{name}.ffn_up.weight", up)
        writer.add_tensor(f"{name}.ffn_down.weight", np.ascontiguousarray(up.T))
    writer.add_tensor("output_norm.weight", flat)
    writer.add_tensor("output.weight", words)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: Any, blocks: int) -> None:
    kinds = gguf.TokenType
    tokens = [*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    writer.add_name("arrival")
    writer.add_file_type(0)
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(_EMBEDDING)
    writer.add_block_count(blocks)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_rope_dimension_count(_EMBEDDING // _HEADS)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    special = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL]
    writer.add_token_types([*special, *[kinds.BYTE] * 256])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def _numbers(chance: np.random.Generator, *shape: int) -> Any:
    return chance.normal(0, 0.02, shape).astype(np.float32)
