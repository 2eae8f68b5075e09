"""``%%avocado_model`` in a session, with a fake service that creates models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from spicy_avocado_magic.client import create_model
from spicy_avocado_magic.config.options import UpRequest
from spicy_avocado_magic.errors import UsageError
from spicy_avocado_magic.notebook.line.command_table import MODEL
from spicy_avocado_magic.protocol.state_folder import StateFolder

from ..conftest import READY, Service, Session

TOKEN = "2abcdefghijklmnopqrstuvwxyzA_0123456789abcdefghijk"


class Maker:
    """A fake service: it records what it creates, or raises a prepared error."""

    def __init__(self) -> None:
        self.made: list[tuple[StateFolder, str, str]] = []
        self.error: Exception | None = None
        self.pulled: tuple[str, ...] = ("tiny:latest",)

    def create_model(
        self,
        folder: StateFolder,
        name: str,
        modelfile: str,
        *,
        show: Callable[[str], None],
    ) -> tuple[str, ...]:
        """Create a model."""
        show("Ollama pulls tiny: 1 MB of 2 MB")
        if self.error is not None:
            raise self.error
        self.made.append((folder, name, modelfile))
        return self.pulled


@pytest.fixture
def maker(service: Service, monkeypatch: pytest.MonkeyPatch) -> Maker:
    """A running service that creates models."""
    service.state, service.outcome = READY, "changed"
    fake = Maker()
    monkeypatch.setattr(create_model, "create_model", fake.create_model)
    return fake


@pytest.mark.parametrize("rehearsal", [False, True])
def test_the_model_is_created_and_served(
    session: Session, service: Service, maker: Maker, rehearsal: bool
) -> None:
    """It is added by ``%avocado_up NAME`` to the service that created it."""
    service.state = replace(READY, rehearsal=rehearsal)
    session.run("NAME = 'mine'")
    assert session.run("%%avocado_model $NAME\nFROM tiny\nSYSTEM {x} $y\n") is None
    folder = StateFolder.find(rehearsal=rehearsal)
    assert maker.made == [(folder, "mine", "FROM tiny\nSYSTEM {x} $y\n")]
    assert service.requests == [
        UpRequest(given={"models": ("mine",)}, rehearse=rehearsal)
    ]
    printed = session.printed()
    assert "Ollama pulls tiny" in printed, "the download is not shown"
    assert "Ollama has downloaded tiny:latest and created mine." in printed
    assert "changed, says the service" in printed


def test_a_model_that_was_not_created_is_not_served(
    session: Session, service: Service, maker: Maker
) -> None:
    """The error names the line of the cell; the progress line says so too."""
    maker.error = UsageError("Line 2 of this cell: bad.", "Fix it.")
    error = session.fail("%%avocado_model mine\nFORM tiny\n")
    assert error is maker.error
    assert "mine was not created." in session.printed()
    assert service.requests == []


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("%%avocado_model\nFROM tiny", "name is missing"),
        ("%%avocado_model a b\nFROM tiny", "'b' is one word too many"),
        ("%%avocado_model a $HOME\nFROM tiny", "'$HOME' is one word too many"),
        (f"%%avocado_model {TOKEN}\nFROM tiny", "this is an ngrok token"),
        ("%%avocado_model a --quantize q4\nFROM tiny", "--quantize is not an option"),
        ("%avocado_model a", "Modelfile below is missing. Write %%avocado_model"),
    ],
)
def test_a_wrong_line_is_reported_before_anything_is_created(
    session: Session, maker: Maker, cell: str, message: str
) -> None:
    """The error says what to write instead."""
    error = session.fail(cell)
    assert isinstance(error, UsageError)
    assert message in str(error)
    assert maker.made == []


def test_without_a_service_the_remedy_is_up(session: Session) -> None:
    """Creating a model needs a running engine."""
    error = session.fail("%%avocado_model mine\nFROM tiny")
    assert isinstance(error, UsageError)
    assert "%avocado_up" in error.remedy


def test_help_is_printed_and_nothing_is_created(session: Session, maker: Maker) -> None:
    """It is the help of this command."""
    for typed in ("%%avocado_model --help\nFROM tiny", "%avocado_model --help"):
        session.run(typed)
        assert MODEL.help() in session.printed()
    assert maker.made == []
