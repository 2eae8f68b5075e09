"""``%%avocado_ask`` and ``%%avocado_model`` in a real kernel, beside a rehearsal."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest

from spicy_avocado_magic import status

from .cells import good, loaded_kernel, new_kernel_home
from .kernel import Kernel

LONG = "word " * 5_000
"""It is repeated at 100 words a second, so the answer would take a minute."""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    """A kernel in a home of its own, with a running rehearsal."""
    with pytest.MonkeyPatch.context() as patch, new_kernel_home(patch):
        patch.setenv("AVOCADO_REHEARSAL_TOKEN_S", "0.01")
        with loaded_kernel() as started:
            good(started.run("%avocado_up tiny --rehearse"))
            yield started


def test_an_answer_is_one_display_of_safe_html(kernel: Kernel) -> None:
    """The rehearsal repeats the question: here, a script."""
    evil = "**Hi** <img src=x onerror=alert(1)> ![x](http://a.example/) \x1b]0;t\x07"
    output = kernel.run(f"%%avocado_ask tiny --system x\n{evil}")
    good(output)
    markup = output.html[-1]
    assert "<strong>Hi</strong>" in markup
    assert "REHEARSAL" in markup
    assert "<img" not in "".join(output.html)
    assert "\x1b" not in "".join(output.html) + output.text
    assert "tiny: " in output.texts[-1]
    assert "tokens per second" in output.texts[-1], "the speed is not shown"


def test_an_interrupt_ends_the_answer_and_the_engines_work(kernel: Kernel) -> None:
    """The next one comes at once, though the engine serves one request at a time."""
    sent = kernel.send(f"%%avocado_ask\n{LONG}")
    begun = kernel.collect(sent, until_text="word word")
    assert not begun.error
    kernel.interrupt()
    ended = kernel.collect(sent)
    assert ended.status == "ok", ended.text
    assert "stopped" in ended.texts[-1]
    assert "avocado" in good(kernel.run("%%avocado_ask\navocado"))
    state = status()
    assert state is not None
    assert state.traffic.in_flight == 0, "the engine still speaks to nobody"


def test_an_unknown_model_is_two_lines(kernel: Kernel) -> None:
    """With the closest name, and no traceback."""
    output = kernel.run("%%avocado_ask tinny\nHi")
    assert output.error == "UsageError"
    assert len(output.traceback) == 2
    assert "Did you mean tiny?" in output.text


def test_a_model_is_created_and_answers(kernel: Kernel) -> None:
    """Its base model is downloaded first; an error names the line of the cell."""
    cell = "%%avocado_model mine\nFROM llama3\nSYSTEM {x} $y\n"
    text = good(kernel.run(cell))
    assert "Ollama has downloaded llama3:latest and created mine." in text
    assert "Changed models" in text
    assert "avocado" in good(kernel.run("%%avocado_ask mine\navocado"))
    bad = kernel.run("%%avocado_model mine\n\nFROM tiny\nSTOP x\n")
    assert bad.error == "UsageError"
    assert "Line 4 of this cell, 'STOP x'" in bad.text
    assert len(bad.traceback) == 2


def test_the_handle_shows_snippets(kernel: Kernel) -> None:
    """They are shown as text at the end of a cell."""
    text = good(kernel.run("avocado.snippets()"))
    assert "## curl" in text
    assert "\\n" not in text, "shown as a heap of quotes"


CLIENTS = {
    "openai": (
        "client.chat.completions.create(model='tiny', messages=[{'role': 'user', "
        "'content': 'avocado'}]).choices[0].message.content"
    ),
    "ollama": "client.generate('tiny', 'avocado').response",
    "anthropic": (
        "client.messages.create(model='tiny', max_tokens=9, messages=[{'role': "
        "'user', 'content': 'avocado'}]).content[0].text"
    ),
}


@pytest.mark.parametrize("package", CLIENTS)
def test_the_handle_makes_a_client_that_is_ready(kernel: Kernel, package: str) -> None:
    """If the package is not installed, the error says how to install it."""
    output = kernel.run(f"client = avocado.{package}()\nprint({CLIENTS[package]})")
    if importlib.util.find_spec(package) is None:
        assert output.error == "UserActionRequired"
        assert f"%pip install {package}" in output.text
    else:
        assert "avocado" in good(output)
