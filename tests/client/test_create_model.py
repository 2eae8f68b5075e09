"""Creation of a model, by a daemon that sends given messages."""

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
def send_messages(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Return a function that sets the messages, and returns the requests."""

    def send(*events: CreateEvent | BaseException) -> list[Any]:
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

    return send


def test_the_messages_of_the_daemon_are_shown(
    send_messages: Callable[..., list[Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The request has the folder at which relative paths start."""
    monkeypatch.chdir(tmp_path)
    asked = send_messages(
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
def test_a_wrong_request_is_refused_without_the_daemon(
    send_messages: Callable[..., list[Any]], tmp_path: Path, name: str, text: str
) -> None:
    """A wrong name, an empty cell, and a text that is too long."""
    asked = send_messages()
    with pytest.raises(UsageError):
        create_model(StateFolder(tmp_path), name, text)
    assert asked == []


def test_without_a_service_the_remedy_is_to_start_one(tmp_path: Path) -> None:
    """As for every command that needs a service."""
    with pytest.raises(UsageError, match="%avocado_up"):
        create_model(StateFolder(tmp_path), "mine", "FROM tiny")


def test_an_interrupt_says_that_no_model_was_created(
    send_messages: Callable[..., list[Any]], tmp_path: Path
) -> None:
    """The error is one of ours."""
    send_messages(CreateEvent(text="pulling"), KeyboardInterrupt())
    with pytest.raises(Interrupted, match="mine was not created"):
        create_model(StateFolder(tmp_path), "mine", "FROM tiny")


def test_a_daemon_that_ends_in_the_middle_is_an_error(
    send_messages: Callable[..., list[Any]], tmp_path: Path
) -> None:
    """The end of the stream is not success."""
    send_messages(CreateEvent(text="pulling"))
    with pytest.raises(DaemonUnreachable, match="creating the model"):
        create_model(StateFolder(tmp_path), "mine", "FROM tiny")
