"""Lines of ``%avocado_keys``, from the line to the client."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.config.api_key_options import ApiKeyRequest
from spicy_avocado_magic.errors import SecretMissing, UsageError
from spicy_avocado_magic.notebook.line.command_table import KEYS
from spicy_avocado_magic.notebook.line.parser import asks_for_help

from ..conftest import READY, Service, Session
from .test_keys import KeyClient, key_client

__all__ = ["key_client"]


@pytest.fixture(autouse=True)
def variables(session: Session) -> None:
    """Define the variables that the lines name."""
    session.shell.user_ns |= {"WHO": "ann", "MODELS": ["tiny", "b:c"], "N": 5}


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        ("add ann;", ApiKeyRequest(name="ann")),
        (
            "--manage add $WHO --rpm $N --tokens=7 --models $MODELS --expires $LATER",
            ApiKeyRequest(
                name="ann",
                rpm=5,
                tokens=7,
                models=("tiny", "b:c"),
                expires_s=7200.0,
                manage=True,
            ),
        ),
        (
            "add bob --models a,b --models c --manage=false",
            ApiKeyRequest(name="bob", models=("a", "b", "c")),
        ),
    ],
)
def test_add_requests_a_key_with_its_limits(
    session: Session,
    key_client: KeyClient,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    request_: ApiKeyRequest,
) -> None:
    """``$NAME`` is looked up as in the other magics."""
    monkeypatch.setenv("LATER", "2h")
    session.run(f"%avocado_keys {line}")
    assert key_client.requests == [request_]


@pytest.mark.parametrize("line", ["revoke ann", "revoke $WHO --rehearse"])
def test_revoke_names_one_key(
    session: Session, key_client: KeyClient, line: str
) -> None:
    """By its name or by a variable."""
    session.run(f"%avocado_keys {line}")
    assert key_client.revoked == ["ann"]


@pytest.mark.parametrize("line", ["", "--rehearse", "--rehearse=false  # the real one"])
def test_a_line_without_a_word_lists_the_keys(
    session: Session, key_client: KeyClient, line: str
) -> None:
    """Nothing is added or revoked."""
    session.run(f"%avocado_keys {line}")
    assert "owner" in session.printed()
    assert not key_client.requests
    assert not key_client.revoked


@pytest.mark.parametrize("line", ["--help", "-h", "add ann --help"])
def test_help_is_recognised_wherever_it_stands(line: str) -> None:
    """Nothing is done then."""
    assert asks_for_help(line)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ad ann", "Did you mean add"),
        ("revok ann", "Did you mean revoke"),
        ("ann", "[add NAME | revoke NAME]"),
        ("add", "name is missing"),
        ("revoke", "name is missing"),
        ("add ann bob", "'bob' is one word too many"),
        ("add ann --tokns 5", "Did you mean --tokens"),
        ("add ann --rpm", "--rpm needs a value"),
        ("add ann --rpm 0", "--rpm: '0'"),
        ("add ann --rpm -5", "--rpm: '-5'"),
        ("add ann --models a/b/c/d", "--models"),
        ("add ann --expires never", "--expires"),
        ("add ann --manage=perhaps", "--manage"),
        ("add owner", "cannot be the name"),
        ("add '<img>'", "cannot be the name"),
        ("--rpm 5", "--rpm can only be given to a new key"),
        ("revoke ann --rpm 5", "--rpm can only be given to a new key"),
        ("add {WHO}", "$WHO"),
        ("add 'ann", "quote"),
    ],
)
def test_a_wrong_line_is_refused_with_a_remedy(
    session: Session, key_client: KeyClient, line: str, words: str
) -> None:
    """The closest word or option is named where there is one."""
    error = session.fail(f"%avocado_keys {line}")
    assert isinstance(error, UsageError)
    assert words in str(error)
    assert key_client.folders == [], "the service was asked all the same"


def test_an_undefined_variable_is_named(
    session: Session, key_client: KeyClient
) -> None:
    """No key is created for a dollar sign."""
    error = session.fail("%avocado_keys add $NOPE")
    assert isinstance(error, SecretMissing)
    assert "NOPE" in str(error)
    assert key_client.requests == []


def test_the_examples_of_the_help_can_be_typed(
    session: Session, service: Service, key_client: KeyClient
) -> None:
    """Each is a line that works."""
    service.state = READY
    for line in KEYS.examples:
        session.run(line)
