"""``%%avocado_ask`` in a session, with a fake model."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest

from spicy_avocado_magic.client import chat
from spicy_avocado_magic.client.chat import ChatChunk, ChatRequest
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.errors import EngineFailed, UsageError
from spicy_avocado_magic.notebook.commands.ask import BROKEN, INTERRUPTED
from spicy_avocado_magic.notebook.line.command_table import ASK
from spicy_avocado_magic.protocol.state import ModelState, State

from ..conftest import READY, Service, Session

TOKEN = "2abcdefghijklmnopqrstuvwxyzA_0123456789abcdefghijk"
ANSWER = (
    ChatChunk(text="**Be**"),
    ChatChunk(text="cause"),
    ChatChunk(tokens=8, seconds=2.0),
)


class Model:
    """A fake model: it records requests, and yields prepared chunks."""

    def __init__(self) -> None:
        self.asked: list[ChatRequest] = []
        self.chunks: tuple[ChatChunk | BaseException, ...] = ANSWER
        self.was_closed = False
        self.open: Generator[ChatChunk, None, None] | None = None
        """A reference, so that garbage collection does not close it."""

    def ask(
        self, state: State, request: ChatRequest, timeouts: Timeouts
    ) -> Generator[ChatChunk, None, None]:
        """Return the answer's generator."""
        self.asked.append(request)
        self.open = self._answer()
        return self.open

    def _answer(self) -> Generator[ChatChunk, None, None]:
        """Yield each chunk, or raise it."""
        try:
            for chunk in self.chunks:
                if isinstance(chunk, BaseException):
                    raise chunk
                yield chunk
        finally:
            self.was_closed = True


@pytest.fixture
def model(service: Service, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A service that runs, with two models."""
    models = (ModelState(name="llama3"), ModelState(name="qwen3:8b"))
    service.state = replace(READY, models=models)
    fake = Model()
    monkeypatch.setattr(chat, "stream_chat", fake.ask)
    return fake


def test_the_cell_is_the_question_of_the_first_model(
    session: Session, model: Model
) -> None:
    """It is sent as typed: braces, dollars and percent signs are not expanded."""
    cell = "%%avocado_ask\nWhy {1+1} $HOME %x?\nSay.\n"
    assert session.run(cell) is None
    assert model.asked == [
        ChatRequest(model="llama3", prompt="Why {1+1} $HOME %x?\nSay.\n")
    ]
    assert session.printed() == "**Be**cause\nllama3: 8 tokens, 4.0 tokens per second\n"


def test_model_and_system_are_named_on_the_line(session: Session, model: Model) -> None:
    """Also by variables of the notebook."""
    session.run("WHO = 'qwen3:8b'\nHOW = 'Be brief.'")
    session.run("%%avocado_ask $WHO --system $HOW\nHi")
    session.run('%%avocado_ask qwen3:8b --system "Be brief."\nHi')
    question = ChatRequest(model="qwen3:8b", prompt="Hi", system="Be brief.")
    assert [replace(q, prompt=q.prompt.strip()) for q in model.asked] == [question] * 2


def test_a_notebook_gets_one_display_of_safe_html(
    session: Session, model: Model
) -> None:
    """It is never sent as Markdown, in which JupyterLab would run scripts."""
    model.chunks = (ChatChunk(text="**Be** <img src=x onerror=alert(1)>"), *ANSWER[1:])
    session.pretend_to_be_a_kernel()
    session.run("%%avocado_ask\nWhy?")
    *_, last = session.displays
    ids = {shown["transient"]["display_id"] for shown in session.displays}
    assert len(ids) == 1, "each update is a display of its own"
    assert set(last["data"]) == {"text/html", "text/plain"}
    assert "<strong>Be</strong>" in last["data"]["text/html"]
    assert "<img" not in last["data"]["text/html"]
    assert "4.0 tokens per second" in last["data"]["text/plain"]
    assert session.printed() == ""


def test_an_interrupt_ends_the_answer_quietly(session: Session, model: Model) -> None:
    """The part that arrived stays, and the connection is closed."""
    model.chunks = (ChatChunk(text="Be"), KeyboardInterrupt())
    session.run("%%avocado_ask\nWhy?")
    assert session.printed() == f"Be\nllama3: {INTERRUPTED}\n"
    assert model.was_closed, "the engine goes on working"


def test_an_interrupt_while_drawing_ends_the_answer(
    session: Session, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine stops working wherever the interrupt arrives."""
    from spicy_avocado_magic.notebook.display.answer import TerminalAnswer

    def strike(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TerminalAnswer, "add", strike)
    session.run("%%avocado_ask\nWhy?")
    assert model.was_closed, "the engine goes on working"


def test_an_error_is_two_lines_below_the_partial_answer(
    session: Session, model: Model
) -> None:
    """The part of the answer that arrived is not lost."""
    model.chunks = (ChatChunk(text="Be"), EngineFailed("It broke.", "Fix it."))
    error: Any = session.fail("%%avocado_ask\nWhy?")
    assert error._render_traceback_() == ["✗ It broke.", "  → Fix it."]
    assert f"Be\nllama3: {BROKEN}\n" in session.printed()
    model.chunks = (EngineFailed("It broke.", "Fix it."),)
    session.fail("%%avocado_ask\nWhy?")
    assert BROKEN not in session.printed(), "an answer that never began broke off"


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("%%avocado_ask\n \n", "question below is missing"),
        ("%%avocado_ask a b\nHi", "'b' is one word too many"),
        ("%%avocado_ask a $HOME\nHi", "'$HOME' is one word too many"),
        ("%%avocado_ask a --system Be brief\nHi", "Put quotes around"),
        (f"%%avocado_ask {TOKEN}\nHi", "this is an ngrok token"),
        ("%%avocado_ask --sytem x\nHi", "--sytem is not an option"),
        ("%%avocado_ask --system\nHi", "--system needs a value"),
        ("%avocado_ask why", "question below is missing. Write %%avocado_ask"),
    ],
)
def test_a_wrong_line_is_reported_before_the_model_is_asked(
    session: Session, model: Model, cell: str, message: str
) -> None:
    """A misspelt option gets the closest match."""
    error = session.fail(cell)
    assert isinstance(error, UsageError)
    assert message in str(error)
    assert model.asked == []


def test_without_a_service_the_remedy_is_up(session: Session) -> None:
    """The error names the command."""
    error = session.fail("%%avocado_ask\nHi")
    assert isinstance(error, UsageError)
    assert "%avocado_up" in error.remedy


def test_help_is_printed_and_nothing_is_asked(session: Session, model: Model) -> None:
    """It is the command's own."""
    for typed in ("%%avocado_ask --help\nHi", "%avocado_ask --help"):
        session.run(typed)
        assert ASK.help() in session.printed()
    assert model.asked == []
