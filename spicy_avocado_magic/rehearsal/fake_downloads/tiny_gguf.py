"""A stand-in for a language model: 300 KB that real Ollama loads and runs.

It generates random letters, as many as are requested. Written by the GGUF
specification (``docs/gguf.md`` in github.com/ggml-org/ggml), without numpy.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final

CONTEXT_TOKENS: Final = 2048
EMBEDDING: Final = 64
_FEED_FORWARD: Final = 128
_ALIGNMENT: Final = 32
_F32_TENSOR: Final = 0
_UINT32, _INT32, _FLOAT32, _STRING, _ARRAY = 4, 5, 6, 8, 9
_UNKNOWN, _CONTROL, _BYTE = 2, 3, 6
_SPECIAL: Final = ("<unk>", "<s>", "</s>")
_LETTERS: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz    ")
_BIAS: Final = 4.0


@cache
def tiny_gguf() -> bytes:
    """Return the file's content, the same bytes on every machine."""
    tensors = list(_tensors())
    head = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(_metadata()))]
    for key, (kind, value) in _metadata().items():
        head += [_text(key), struct.pack("<I", kind), _packed(kind, value)]
    offset = 0
    for name, shape, weights in tensors:
        dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        head += [_text(name), dimensions, struct.pack("<IQ", _F32_TENSOR, offset)]
        offset += len(weights)  # each is a multiple of the alignment
    start = b"".join(head)
    return b"".join(
        (start, bytes(-len(start) % _ALIGNMENT), *(tensor[2] for tensor in tensors))
    )


def _metadata() -> dict[str, tuple[int, Any]]:
    tokens = [*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [_UNKNOWN, _CONTROL, _CONTROL, *[_BYTE] * 256]
    return {
        "general.architecture": (_STRING, "llama"),
        "general.name": (_STRING, "tiny"),
        "general.file_type": (_UINT32, 0),
        "llama.context_length": (_UINT32, CONTEXT_TOKENS),
        "llama.embedding_length": (_UINT32, EMBEDDING),
        "llama.block_count": (_UINT32, 1),
        "llama.feed_forward_length": (_UINT32, _FEED_FORWARD),
        "llama.rope.dimension_count": (_UINT32, 16),
        "llama.attention.head_count": (_UINT32, 4),
        "llama.attention.head_count_kv": (_UINT32, 4),
        "llama.attention.layer_norm_rms_epsilon": (_FLOAT32, 1e-5),
        "tokenizer.ggml.model": (_STRING, "llama"),
        "tokenizer.ggml.tokens": (_ARRAY, (_STRING, tokens)),
        "tokenizer.ggml.scores": (_ARRAY, (_FLOAT32, [0.0] * len(tokens))),
        "tokenizer.ggml.token_type": (_ARRAY, (_INT32, kinds)),
        "tokenizer.ggml.unknown_token_id": (_UINT32, 0),
        "tokenizer.ggml.bos_token_id": (_UINT32, 1),
        "tokenizer.ggml.eos_token_id": (_UINT32, 2),
    }


def _tensors() -> Iterator[tuple[str, tuple[int, ...], bytes]]:
    """Yield name, shape and weights; a shape names its fastest dimension first."""
    generator = random.Random(259)
    tokens = len(_SPECIAL) + 256
    square, wide = (EMBEDDING, EMBEDDING), (EMBEDDING, _FEED_FORWARD)
    flat = struct.pack(f"<{EMBEDDING}f", *[1.0] * EMBEDDING)
    # One dimension is equal for all tokens, so that the output can favour letters.
    yield "token_embd.weight", (EMBEDDING, tokens), _rows(generator, [1.0] * tokens)
    yield "output_norm.weight", (EMBEDDING,), flat
    biases = [-_BIAS] * len(_SPECIAL)
    biases += [_BIAS if byte in _LETTERS else -_BIAS for byte in range(256)]
    yield "output.weight", (EMBEDDING, tokens), _rows(generator, biases)
    yield "blk.0.attn_norm.weight", (EMBEDDING,), flat
    for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
        yield f"blk.0.{part}.weight", square, _weights(generator, EMBEDDING**2)
    yield "blk.0.ffn_norm.weight", (EMBEDDING,), flat
    for part, shape in (("gate", wide), ("up", wide), ("down", wide[::-1])):
        weights = _weights(generator, EMBEDDING * _FEED_FORWARD)
        yield f"blk.0.ffn_{part}.weight", shape, weights


def _rows(generator: random.Random, first: Sequence[float]) -> bytes:
    """Return one row for each token, with a chosen first number."""
    return b"".join(
        struct.pack("<f", number) + _weights(generator, EMBEDDING - 1)
        for number in first
    )


def _weights(generator: random.Random, count: int) -> bytes:
    """Return ``count`` numbers, close to normal(0, 0.05).

    The sum of three uniform numbers, since ``gauss`` uses the platform's logarithm and
    the bytes must be the same everywhere.
    """
    draw = generator.random
    return struct.pack(
        f"<{count}f", *(0.1 * (draw() + draw() + draw() - 1.5) for _ in range(count))
    )


def _packed(kind: int, value: Any) -> bytes:
    if kind == _STRING:
        return _text(value)
    if kind == _ARRAY:
        of, items = value
        head = struct.pack("<IQ", of, len(items))
        return head + b"".join(_packed(of, item) for item in items)
    return struct.pack({_UINT32: "<I", _INT32: "<i", _FLOAT32: "<f"}[kind], value)


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()
