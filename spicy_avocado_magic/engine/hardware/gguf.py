"""Reader of the head of a GGUF file, for what decides a model's memory."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

HEAD_BYTES: Final = 1 << 18
"""Enough for the keys that are read: they precede the vocabulary's megabytes."""

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
    """The values of a model's architecture that decide the size of its context."""

    values_per_token: int
    """Numbers that one token adds to the key-value cache, over all layers."""
    trained_context: int
    """Tokens; the engine allows no longer context."""
    window: int = 0
    """Tokens that a layer with a sliding window keeps."""
    whole_share: float | None = 1.0
    """Share of the layers that keep the whole context; None where it is unknown."""


def read_architecture(head: bytes) -> ModelArchitecture | None:
    """Return a model's architecture from the first bytes of its file, else None.

    The format is that of ``docs/gguf.md`` in ggml-org/ggml, the keys are those of
    ``gguf-py`` in ggml-org/llama.cpp. A head that is cut short is read to its end.
    """
    metadata = _read_metadata(head)
    architecture = metadata.get("general.architecture")

    def value(name: str, default: Any = None) -> Any:
        return metadata.get(f"{architecture}.{name}", default)

    layers, heads = value("block_count"), value("attention.head_count")
    heads_kv = value("attention.head_count_kv", heads)
    try:
        head_length = value("embedding_length") // _largest(heads)
        key_length = value("attention.key_length", head_length)
        value_length = value("attention.value_length", head_length)
        per_layer = heads_kv if isinstance(heads_kv, list) else [heads_kv] * layers
        return ModelArchitecture(
            values_per_token=sum(per_layer) * (key_length + value_length),
            trained_context=int(value("context_length", 0)),
            window=int(value("attention.sliding_window", 0)),
            whole_share=_whole_share(
                value("full_attention_interval"),
                value("attention.sliding_window"),
                value("attention.sliding_window_pattern"),
            ),
        )
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None


def _largest(heads: Any) -> Any:
    return max(heads) if isinstance(heads, list) else heads


def _whole_share(interval: Any, window: Any, pattern: Any) -> float | None:
    """Return the share of the layers that keep the whole context.

    Args:
        interval: In hybrid models, every how many layers one keeps a context.
        window: Tokens of the sliding window.
        pattern: Every how many layers one has no window, or a list of those with one.
    """
    if interval:
        return 1 / int(interval)
    if not window:
        return 1.0
    if isinstance(pattern, list) and pattern:
        return pattern.count(False) / len(pattern)
    return 1 / int(pattern) if pattern else None


def _read_metadata(head: bytes) -> dict[str, Any]:
    """Return the scalars, texts and lists of numbers of a head, up to its end."""
    metadata: dict[str, Any] = {}
    if head[:4] != _MAGIC:
        return metadata
    try:
        version, _tensors, count = struct.unpack_from("<IQQ", head, 4)
        if version not in _VERSIONS:
            return metadata
        at = 24
        for _ in range(count):
            key, at = _text(head, at)
            (kind,) = struct.unpack_from("<I", head, at)
            value, at = _value(head, at + 4, kind)
            metadata[key] = value
    except (struct.error, KeyError):
        return metadata
    return metadata


def _value(head: bytes, at: int, kind: int) -> tuple[Any, int]:
    """Return a value and the offset after it.

    Raises:
        struct.error: If the head ends inside it.
        KeyError: If its type is unknown.
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
