"""``%avocado_keys`` in a session, with a fake client."""

from __future__ import annotations

from typing import Any

import pytest

from spicy_avocado_magic.client import api_keys
from spicy_avocado_magic.config.api_key_options import ApiKeyRequest
from spicy_avocado_magic.errors import UsageError
from spicy_avocado_magic.notebook.line.command_table import KEYS
from spicy_avocado_magic.protocol.state import ApiKeyState
from spicy_avocado_magic.protocol.state_folder import StateFolder
from spicy_avocado_magic.system.redaction import Secret

from ..conftest import KEY, READY, Service, Session

SECRET = "avocado-anns-0123456789"


class KeyClient:
    """Stands in for the key_client: what was asked of it."""

    def __init__(self) -> None:
        self.folders: list[StateFolder] = []
        self.requests: list[ApiKeyRequest] = []
        self.revoked: list[str] = []

    def read_keys(self, folder: StateFolder) -> tuple[ApiKeyState, ...]:
        """Return the owner's key."""
        self.folders.append(folder)
        return (ApiKeyState(name="owner"),)

    def add_key(self, folder: StateFolder, request: ApiKeyRequest) -> Secret:
        """Record a request."""
        self.folders.append(folder)
        self.requests.append(request)
        return Secret(SECRET)

    def revoke_key(self, folder: StateFolder, name: str) -> None:
        """Record a name."""
        self.folders.append(folder)
        self.revoked.append(name)


@pytest.fixture
def key_client(service: Service, monkeypatch: pytest.MonkeyPatch) -> KeyClient:
    """A running service that creates keys."""
    service.state = READY
    fake = KeyClient()
    for name in ("read_keys", "add_key", "revoke_key"):
        monkeypatch.setattr(api_keys, name, getattr(fake, name))
    return fake


def test_a_new_key_is_shown_once(session: Session, key_client: KeyClient) -> None:
    """The cell that created it has no value that could be shown again."""
    cell = "WHO = 'ann'\n%avocado_keys add $WHO --rpm 5 --models llama3"
    assert session.run(cell) is None
    assert key_client.requests == [ApiKeyRequest(name="ann", rpm=5, models=("llama3",))]
    shown = session.printed()
    assert shown.count(SECRET) == 2, "the key and the curl line"
    assert KEY not in shown
    session.run("%avocado_keys")
    assert SECRET not in session.printed()
    assert SECRET not in str(session.shell.user_ns)


def test_a_variable_of_a_function_is_found(
    session: Session, key_client: KeyClient
) -> None:
    """``$NAME`` is looked up where Python would look it up."""
    session.run("def go(who):\n    %avocado_keys revoke $who\ngo('ann')")
    assert key_client.revoked == ["ann"]
    assert "ann no longer works" in session.printed()


def test_the_list_is_printed_in_a_terminal_and_drawn_in_a_notebook(
    session: Session, key_client: KeyClient
) -> None:
    """A line without a word lists the keys."""
    session.run("%avocado_keys")
    assert "owner" in session.printed()
    session.pretend_to_be_a_kernel()
    session.run("%avocado_keys")
    assert "owner" in session.displays[-1]["data"]["text/html"]
    assert key_client.folders == [StateFolder.find(rehearsal=False)] * 2


def test_help_is_printed_and_nothing_is_done(
    session: Session, key_client: KeyClient
) -> None:
    """It is the help of this command."""
    session.run("%avocado_keys add ann --help")
    assert KEYS.help() in session.printed()
    assert key_client.folders == []


@pytest.mark.parametrize("line", ["add ann", "revoke ann"])
def test_without_a_service_no_key_can_be_added_or_revoked(
    session: Session, service: Service, line: str
) -> None:
    """The error names the remedy; listing the keys is no error."""
    error = session.fail(f"%avocado_keys {line}")
    assert isinstance(error, UsageError)
    assert "%avocado_up" in error.remedy
    session.run("%avocado_keys")
    assert "Nothing is running" in session.printed()


def test_an_error_is_two_lines(session: Session, key_client: KeyClient) -> None:
    """What happened and what to do."""
    error: Any = session.fail("%avocado_keys ad ann")
    assert len(error._render_traceback_()) == 2
