"""Loaded models, their expiry, and the generated answers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from spicy_avocado_magic.config.model_name import ModelName
from spicy_avocado_magic.rehearsal.fake_ollama.runner import (
    Runner,
    echo_reply,
    embedding,
)
from spicy_avocado_magic.rehearsal.fake_ollama.store import StoredModel

TINY = StoredModel(
    name=ModelName.parse("tiny"),
    digest="00",
    size_bytes=1,
    modified_s=0,
    weights_path=Path("/nowhere"),
)


@pytest.mark.parametrize(
    ("keep_alive", "kept_s"),
    [("5m", 300), ("1h30m", 5400), (10, 10), ("500ms", 0.5)],
)
def test_a_model_leaves_when_its_time_is_up(
    monkeypatch: pytest.MonkeyPatch, keep_alive: str | int, kept_s: float
) -> None:
    """Durations are Go's, bare numbers are seconds."""
    now_s = 1000.0
    monkeypatch.setattr("time.time", lambda: now_s)
    runner = Runner()
    runner.load(TINY, keep_alive=keep_alive)
    now_s = 1000.0 + kept_s - 0.1
    assert runner.loaded(), "it left too early"
    now_s = 1000.0 + kept_s + 0.1
    assert not runner.loaded(), "it stayed too long"


@pytest.mark.parametrize("keep_alive", [-1, "-1", "-1m"])
def test_a_negative_time_is_for_ever(keep_alive: str | int) -> None:
    """It is shown as Ollama shows it: in three centuries."""
    runner = Runner()
    runner.load(TINY, keep_alive=keep_alive)
    (loaded,) = runner.loaded()
    assert loaded.expires_at.startswith("2318-")


def test_the_engines_variables_are_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Context and keep-alive are those that the engine was started with."""
    monkeypatch.setenv("OLLAMA_CONTEXT_LENGTH", "512")
    monkeypatch.setenv("OLLAMA_KEEP_ALIVE", "-1")
    runner = Runner()
    runner.load(TINY)
    (loaded,) = runner.loaded()
    assert loaded.context_tokens == 512
    assert math.isinf(loaded.until_s)


def test_a_limit_cuts_the_reply() -> None:
    """The reason says so."""
    cut, whole = echo_reply("tiny", "one two", 3), echo_reply("tiny", "one two", None)
    assert (cut.text, cut.reason) == ("You said: one", "length")
    assert (whole.text, whole.reason) == ("You said: one two", "stop")


def test_embeddings_differ_between_texts() -> None:
    """The same text has the same vector of length one."""
    assert embedding("a") == embedding("a") != embedding("b")
    assert math.isclose(math.hypot(*embedding("a")), 1.0)
