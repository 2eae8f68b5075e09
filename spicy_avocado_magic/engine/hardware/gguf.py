"""The head of a GGUF file: what of a model decides how much memory it takes."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

HEAD_BYTES: Final = 1 << 18
"""Enough for what is read: it stands before the vocabulary, which is megabytes."""

_MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_STRING, _ARRAY, _BOOL = 8, 9, 7
_SCALARS: Final = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    _BOOL: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelArchitecture:
    """What of a model's architecture decides the size of its context."""

    values_per_token: int
    """Keys and values that one token adds over all layers."""
    trained_context: int
    """Tokens; the engine allows no more."""
    window: int = 0
    """Tokens that layers with a sliding window keep."""
    whole_share: float | None = 1.0
    """Part of the layers that keep the whole context; None where it is not told."""


def read_architecture(head: bytes) -> ModelArchitecture | None:
    """Return a model's shape from the first bytes of its file; None if not told.

    By ``docs/gguf.md`` in ggml-org/ggml; the keys are those of ``gguf-py`` in
    ggml-org/llama.cpp. A head that is cut short is read as far as it goes.
    """
    facts = _read_facts(head)
    architecture = facts.get("general.architecture")

    def fact(name: str, otherwise: Any = None) -> Any:
        return facts.get(f"{architecture}.{name}", otherwise)

    layers, heads = fact("block_count"), fact("attention.head_count")
    heads_kv = fact("attention.head_count_kv", heads)
    try:
        head_length = fact("embedding_length") // _largest(heads)
        key_length = fact("attention.key_length", head_length)
        value_length = fact("attention.value_length", head_length)
        per_layer = heads_kv if isinstance(heads_kv, list) else [heads_kv] * layers
        return ModelArchitecture(
            values_per_token=sum(per_layer) * (key_length + value_length),
            trained_context=int(fact("context_length", 0)),
            window=int(fact("attention.sliding_window", 0)),
            whole_share=_whole_share(
                fact("full_attention_interval"),
                fact("attention.sliding_window"),
                fact("attention.sliding_window_pattern"),
            ),
        )
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None


def _largest(heads: Any) -> Any:
    return max(heads) if isinstance(heads, list) else heads


def _whole_share(interval: Any, window: Any, pattern: Any) -> float | None:
    """Return which part of the layers keeps the whole context.

    ``interval`` is that of hybrid models, whose other layers keep no context;
    ``pattern`` is every how many layers one has no window, or which ones have one.
    """
    if interval:
        return 1 / int(interval)
    if not window:
        return 1.0
    if isinstance(pattern, list) and pattern:
        return pattern.count(False) / len(pattern)
    return 1 / int(pattern) if pattern else None


def _read_facts(head: bytes) -> dict[str, Any]:
    """Return the scalars, texts and lists of numbers of a head, as far as it goes."""
    facts: dict[str, Any] = {}
    if head[:4] != _MAGIC:
        return facts
    try:
        version, _tensors, count = struct.unpack_from("<IQQ", head, 4)
        if version not in _VERSIONS:
            return facts
        at = 24
        for _ in range(count):
            key, at = _text(head, at)
            (kind,) = struct.unpack_from("<I", head, at)
            value, at = _value(head, at + 4, kind)
            facts[key] = value
    except (struct.error, KeyError):
        return facts
    return facts


def _value(head: bytes, at: int, kind: int) -> tuple[Any, int]:
    """Return a value and where the next one begins.

    Raises:
        struct.error: If the head ends before it does.
        KeyError: If its kind is not known.
    """
    if kind == _STRING:
        return _text(head, at)
    if kind != _ARRAY:
        (value,) = struct.unpack_from(_SCALARS[kind], head, at)
        return value, at + struct.calcsize(_SCALARS[kind])
    of, length = struct.unpack_from("<IQ", head, at)
    at += 12
    if of == _STRING:
        for _ in range(length):
            _, at = _text(head, at)
        return None, at
    size = struct.calcsize(_SCALARS[of])
    values = struct.unpack_from(f"<{length}{_SCALARS[of][1]}", head, at)
    return list(values), at + length * size


def _text(head: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", head, at)
    end = at + 8 + length
    if end > len(head):
        message = "the head ends inside a text"
        raise struct.error(message)
    return head[at + 8 : end].decode("utf-8", "replace"), end
