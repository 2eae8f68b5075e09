"""Having a model made, before a host that tells what it is given to tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spicy_avocado_magic.client import create_model as module
from spicy_avocado_magic.client.control_client import ControlClient
from spicy_avocado_magic.client.create_model import create_model
from spicy_avocado_magic.errors import DaemonUnreachable, Interrupted, UsageError
from spicy_avocado_magic.protocol.control_messages import CreateEvent, CreateMessage
from spicy_avocado_magic.protocol.state import State
from spicy_avocado_magic.protocol.state_folder import StateFolder


@pytest.fixture
def tell(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Return a way to have a host that runs tell things; it notes what is asked."""

    def have(*events: CreateEvent | BaseException) -> list[Any]:
        asked: list[Any] = []

        def stream(
            _: ControlClient, path: str, message: CreateMessage, _event: object
        ) -> Iterator[CreateEvent]:
            asked.append((path, message))
            for event in events:
                if isinstance(event, BaseException):
                    raise event
                yield event

        running = State(pid=1, local_url="http://127.0.0.1:1")
        monkeypatch.setattr(ControlClient, "stream", stream)
        monkeypatch.setattr(module, "state_of", lambda _folder: running)
        return asked

    return have


def test_the_host_is_asked_and_what_it_tells_is_shown(
    tell: Callable[..., list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the folder from which relative paths lead."""
    monkeypatch.chdir(tmp_path)
    asked = tell(
        CreateEvent(text="pulling"),
        CreateEvent(text="making"),
        CreateEvent(pulled=("b:c",)),
    )
    shown: list[str] = []
    folder = StateFolder(tmp_path)
    pulled = create_model(folder, "mine", "FROM tiny\n", show=shown.append)
    assert pulled == ("b:c",)
    assert shown == ["pulling", "making"]
    message = CreateMessage(name="mine", modelfile="FROM tiny\n", folder=str(tmp_path))
    assert asked == [("/create", message)]


@pytest.mark.parametrize(
    ("name", "text"),
    [("a b", "FROM x"), ("mine", " \n"), ("mine", "é" * 300_000)],
)
def test_what_cannot_be_is_refused_before_the_host_is_asked(
    tell: Callable[..., list[Any]], tmp_path: Path, name: str, text: str
) -> None:
    """A name that is none, an empty cell, and one that the socket would not take."""
    asked = tell()
    with pytest.raises(UsageError):
        create_model(StateFolder(tmp_path), name, text)
    assert asked == []


def test_where_nothing_runs_the_remedy_is_an_up(tmp_path: Path) -> None:
    """As for all that needs a service."""
    with pytest.raises(UsageError, match="%avocado_up"):
        create_model(StateFolder(tmp_path), "mine", "FROM tiny")


def test_an_interrupt_says_that_no_model_was_made(
    tell: Callable[..., list[Any]], tmp_path: Path
) -> None:
    """In words of ours."""
    tell(CreateEvent(text="pulling"), KeyboardInterrupt())
    with pytest.raises(Interrupted, match="mine was not created"):
        create_model(StateFolder(tmp_path), "mine", "FROM tiny")


def test_a_host_that_ends_in_the_middle_is_told(
    tell: Callable[..., list[Any]], tmp_path: Path
) -> None:
    """Silence is not success."""
    tell(CreateEvent(text="pulling"))
    with pytest.raises(DaemonUnreachable, match="creating the model"):
        create_model(StateFolder(tmp_path), "mine", "FROM tiny")
