"""Tab completion, by the line up to the cursor."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.notebook.line.command_table import COMMANDS, CommandSpec
from spicy_avocado_magic.notebook.line.completion import (
    CompletionSources,
    complete,
    complete_body,
)


def known() -> CompletionSources:
    """Return a few names of each kind."""
    return CompletionSources(
        names=lambda: ["NGROK", "MODEL"],
        models=lambda: ["own:q4", "llama3", "qwen3:8b", "hf.co/ann/M-GGUF:Q4_K_M"],
        paths=lambda typed: [f"{typed}one/", f"{typed}two"],
    )


def offered(text: str) -> tuple[str, ...]:
    """Return the completions of the last word of a line."""
    found = complete(text, known())
    assert found is not None, f"this line is not completed: {text}"
    assert text.endswith(found.typed), "what is completed was not typed"
    return found.candidates


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("%avocado_up --dom", ("--domain",)),
        ("%%avocado_up --dom", ("--domain",)),
        ("  %avocado_up tiny  --dom", ("--domain",)),
        ("avocado_up --dom", ("--domain",)),
        ("facts = %avocado_status --js", ("--json",)),
        ("%avocado_up --DOM", ("--domain",)),
        ("%avocado_up --he", ("--help",)),
        ("%avocado_logs -n", ("-n",)),
        ("%avocado_up --zzz", ()),
        ("%avocado_up --local=", ("true", "false")),
        ("%avocado_up --local=f", ("false",)),
        ("%avocado_up --ollama-version la", ("latest",)),
        ("%avocado_up --ttl ", ("30m", "2h", "8h")),
        ("%avocado_up --limit rp", ("rpm=",)),
        ("%avocado_up --limit=rpm=60,body=", ("body=",)),
        ("%avocado_up --token $N", ("$NGROK",)),
        ("%avocado_up --token=${", ("${NGROK}", "${MODEL}")),
        ("%avocado_up --token ", ("$NGROK", "$MODEL")),
        ("%avocado_up $", ("$NGROK", "$MODEL")),
        ("%avocado_up --models-dir ~/m", ("~/mone/", "~/mtwo")),
        ("%avocado_doctor --report=r", ("rone/", "rtwo")),
        ("%avocado_up qw", ("qwen3:8b",)),
        ("%avocado_up qwen3:", ("qwen3:8b",)),
        ("%avocado_up hf.co/ann/M", ("hf.co/ann/M-GGUF:Q4_K_M",)),
        ("%avocado_up own:q4 --local ll", ("llama3",)),
        ("%avocado_up --models-dir '/my q' ll", ("llama3",)),
        ("%avocado_keys add ann --models llama3,q", ("qwen3:8b",)),
        ("%avocado_keys ", ("add", "revoke")),
        ("%avocado_keys add a", ()),
        ("%avocado_logs e", ("engine",)),
        ("%avocado_logs host e", ()),
    ],
)
def test_a_line_is_completed(text: str, words: tuple[str, ...]) -> None:
    """Options, their values, models, components, and variables after a dollar."""
    assert offered(text)[: len(words) or None] == words


def test_an_empty_word_offers_words_first_then_options() -> None:
    """So Tab shows everything that the magic takes."""
    words = offered("%avocado_up ")
    assert words[:2] == ("own:q4", "llama3")
    assert "--token" in words
    assert words[-1] == "--help"


def test_an_option_on_the_line_is_not_offered_again() -> None:
    """Except those that may be repeated."""
    words = offered("%avocado_up --local --context=8192 --cors * --")
    assert "--local" not in words
    assert "--context" not in words
    assert "--cors" in words
    assert "--domain" in words


@pytest.mark.parametrize(
    "text",
    [
        "%avocado_up",
        "%avocado_upp --d",
        "%cd --d",
        "print('%avocado_up --d",
        "%avocado_up tiny # mine --d",
        "%avocado_up tiny #--d",
        "%avocado_up --models-dir '/my q",
        "%avocado_up --models-dir '/my q'",
        "",
    ],
)
def test_any_other_line_is_left_to_ipython(text: str) -> None:
    """Also a comment, an open quote, and an incomplete name of a magic."""
    assert complete(text, known()) is None


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.name)
def test_every_option_of_every_magic_is_offered(command: CommandSpec) -> None:
    """Parser and completion use the same table."""
    words = offered(f"%{command.name} -")
    assert set(words) == {*command.option_by_flag, "--help"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("AVOCADO_CONT", ("AVOCADO_CONTEXT=",)),
        ("export NGROK_D", ("NGROK_DOMAIN=",)),
        ("OLLAMA_NUM", ("OLLAMA_NUM_PARALLEL=",)),
        ("AVOCADO_MODEL=qw", ("qwen3:8b",)),
        ("NGROK_AUTHTOKEN=$N", ("$NGROK",)),
        ("AVOCADO_LOCAL=t", ("true",)),
        ("OLLAMA_FLASH_ATTENTION=$M", ("$MODEL",)),
    ],
)
def test_a_line_of_the_body_is_completed(text: str, words: tuple[str, ...]) -> None:
    """Keys, then values of the option."""
    found = complete_body(text, known())
    assert found is not None
    assert found.candidates == words


@pytest.mark.parametrize("text", ["# AVOCADO_C", "A='x", "AVOCADO_MODEL=a b"])
def test_a_comment_or_quote_in_the_body_is_not_completed(text: str) -> None:
    """Its content is free text."""
    assert complete_body(text, known()) is None
