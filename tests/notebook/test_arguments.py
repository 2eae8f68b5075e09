"""From a line and a cell body to a wish."""

from __future__ import annotations

from typing import Any

import pytest

from spicy_avocado_magic.errors import SecretMissing, UsageMistake
from spicy_avocado_magic.notebook.arguments import (
    LITERAL_ADVICE,
    Request,
    read_switches,
    read_up,
    split,
)
from spicy_avocado_magic.notebook.commands import DOWN, STATUS
from spicy_avocado_magic.notebook.names import Names

TOKEN = "2abcdefghijklmnopqrstuvwxyz_0123456789"


def names(environ: dict[str, str] | None = None, **namespace: Any) -> Names:
    """Return a notebook with these variables and this environment."""
    return Names(namespace=namespace, environ=environ or {})


def asked(line: str, body: str | None = None, where: Names | None = None) -> Request:
    """Return what a line asks for; fails where it asks for help."""
    request = read_up(line, body, where or names())
    assert request is not None, "this line asks for help"
    return request


def given(
    line: str, body: str | None = None, where: Names | None = None
) -> dict[str, Any]:
    """Return the settings that a line gives."""
    return dict(asked(line, body, where).wish.given)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("llama3 --token 'a b'  # mine", ["llama3", "--token", "a b"]),
        ("llama3;", ["llama3"]),
        ("llama3 ;", ["llama3"]),
        ("llama3; # mine", ["llama3"]),
        ('--token="a b"', ["--token=a b"]),
        ("", []),
    ],
)
def test_a_line_is_split_as_a_shell_does(line: str, words: list[str]) -> None:
    """Quotes, comments and a trailing semicolon never reach a value."""
    assert split(line) == words


def test_a_quote_that_stays_open_is_a_mistake() -> None:
    """The user hears of the quote, not of a parser."""
    with pytest.raises(UsageMistake, match="quote"):
        split("llama3 --token 'abc")


def test_models_and_options_may_stand_in_any_order() -> None:
    """Words are models wherever they stand."""
    wished = given("llama3 --context 8192 qwen3:8b --local --ttl=2h")
    assert wished == {
        "models": ("llama3", "qwen3:8b"),
        "context": 8192,
        "local": True,
        "ttl_s": 7200.0,
    }


def test_a_flag_is_undone_with_false() -> None:
    """A running value of a flag can be taken back."""
    assert given("--local=false --manage=on") == {"local": False, "manage": True}


def test_switches_of_the_call_are_not_settings() -> None:
    """They steer this one call."""
    wish = asked("tiny --only --background --restart --rehearse").wish
    assert (wish.only, wish.background, wish.restart, wish.rehearse) == (True,) * 4
    assert dict(wish.given) == {"models": ("tiny",)}


@pytest.mark.parametrize("line", ["--help", "llama3 -h", "--tokn --help"])
def test_help_does_nothing_else(line: str) -> None:
    """Nothing is resolved or checked when help is asked for."""
    assert read_up(line, None, names()) is None


@pytest.mark.parametrize(
    ("line", "problem", "remedy"),
    [
        ("--tokn abc", "--tokn is not an option", "--token?"),
        ("--tok abc", "--tok is not an option", "--token?"),
        ("-x", "-x is not an option", "--help"),
        ("--port", "--port needs a value", "--port N"),
        ("--port --local", "--port needs a value", "--port N"),
        ("--port 99999", "--port '99999'", "65535"),
        ("--ttl soon", "--ttl: 'soon'", "2h"),
        ("--local=maybe", "--local: 'maybe'", "true or false"),
        ("--domain=", "--domain ''", "ngrok"),
        ("{MODEL}", "{MODEL} is not filled in", "$MODEL"),
        ("bad//name", "'bad//name' is not a model", "llama3"),
    ],
)
def test_a_mistake_names_itself_and_its_remedy(
    line: str, problem: str, remedy: str
) -> None:
    """What is wrong stands in the first sentence, what to type in the second."""
    with pytest.raises(UsageMistake) as caught:
        asked(line)
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


def test_the_value_of_a_misspelt_option_is_not_repeated() -> None:
    """It may be the token."""
    with pytest.raises(UsageMistake) as caught:
        asked(f"--tokn={TOKEN}")
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("text", ["$NGROK", "${NGROK}", "'$NGROK'"])
def test_a_name_is_looked_up_for_each_argument(text: str) -> None:
    """An undefined name elsewhere cannot spoil it, nor spaces in the value."""
    wished = given(f"--token {text}", where=names(NGROK="two words"))
    assert wished == {"token": "two words"}


def test_the_notebook_goes_before_environment_and_secrets() -> None:
    """The nearest place wins."""
    everywhere = Names(
        namespace={"A": "notebook", "C": None},
        environ={"A": "environment", "B": "environment"},
        platform_secret={"A": "secret", "B": "secret", "C": "secret"}.get,
    )
    found = [everywhere.resolve(f"${name}") for name in "ABC"]
    assert found == ["notebook", "environment", "secret"]


def test_a_name_that_is_nowhere_is_named() -> None:
    """The message says which one."""
    with pytest.raises(SecretMissing, match=r"\$NGROK is not defined"):
        asked("llama3 --token $NGROK")


def test_an_empty_variable_is_named() -> None:
    """An empty token is told before it is tried."""
    with pytest.raises(SecretMissing, match=r"\$NGROK is empty"):
        asked("llama3 --token $NGROK", where=names(NGROK=" "))


@pytest.mark.parametrize(
    "value", ["llama3 qwen3", "llama3, qwen3", ["llama3", "qwen3"], ("llama3", "qwen3")]
)
def test_a_variable_may_hold_several_models(value: object) -> None:
    """One notebook variable says what is served."""
    wished = given("$MODEL gemma3", where=names(MODEL=value))
    assert wished == {"models": ("llama3", "qwen3", "gemma3")}


@pytest.mark.parametrize(
    "line", ["tiny --rehearse --token $NGROK", "tiny --rehearse --token=${NGROK}"]
)
def test_a_rehearsal_needs_no_token(line: str) -> None:
    """A notebook runs unchanged where its token is not defined."""
    assert given(line) == {"models": ("tiny",)}


def test_the_environment_can_make_it_a_rehearsal() -> None:
    """``AVOCADO_REHEARSE=1`` is as good as the option."""
    request = asked("tiny --token $NGROK", where=names({"AVOCADO_REHEARSE": "1"}))
    assert request.wish.rehearse
    assert "token" not in request.wish.given


def test_only_the_token_is_left_out_of_a_rehearsal() -> None:
    """Any other name must be there, as it must be later."""
    with pytest.raises(SecretMissing, match=r"\$KEY"):
        asked("tiny --rehearse --api-key $KEY")


def test_a_literal_token_earns_advice() -> None:
    """It works, and its user hears that all who read the notebook can read it."""
    assert asked(f"llama3 --token {TOKEN}").notices == (LITERAL_ADVICE,)
    assert asked("llama3", f"NGROK_AUTHTOKEN={TOKEN}").notices == (LITERAL_ADVICE,)
    assert asked("--token $T", where=names(T=TOKEN)).notices == ()
    assert TOKEN not in LITERAL_ADVICE


BODY = """\
# what we serve
OLLAMA_NUM_PARALLEL=4   # users
NGROK_AUTHTOKEN="$NGROK"
export AVOCADO_CONTEXT='4096'
AVOCADO_MODEL=$MODELS
"""


def test_a_body_is_read_by_the_rules_of_dotenv() -> None:
    """Comments, quotes and ``export`` are known, and each ``$NAME`` is looked up."""
    wished = given("", BODY, names(NGROK=TOKEN, MODELS=["llama3", "qwen3"]))
    assert wished == {
        "engine_env": (("OLLAMA_NUM_PARALLEL", "4"),),
        "token": TOKEN,
        "context": 4096,
        "models": ("llama3", "qwen3"),
    }


def test_the_line_wins_over_the_body_and_the_body_over_the_environment() -> None:
    """The nearest to the eye wins."""
    around = names(
        {"AVOCADO_CONTEXT": "1", "AVOCADO_PORT": "1", "AVOCADO_TTL": "1", "OTHER": "x"}
    )
    body = "AVOCADO_CONTEXT=2\nAVOCADO_PORT=2\nAVOCADO_MODEL=old"
    wished = given("new --context 3", body, around)
    assert wished == {"models": ("new",), "context": 3, "port": 2, "ttl_s": 1.0}


def test_other_variables_of_the_environment_are_not_touched() -> None:
    """A misspelt or foreign variable out there is nobody's mistake here."""
    assert given("", where=names({"AVOCADO_FARM": "1", "NGROK_DOMAIN": "x.y"})) == {}


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("\n# x\nthis is no setting\n", "Line 4 of this cell"),
        ("OLLAMA_DEBUG=1\nAVOCADO_CONTEXT='8192\n", "Line 3 of this cell"),
        ("OLLAMA_NUM_PARALEL=4", "OLLAMA_NUM_PARALEL is not a known setting"),
        ("OLLAMA_HOST=0.0.0.0", "OLLAMA_HOST cannot be set here"),
        ("AVOCADO_CONTEXT", "AVOCADO_CONTEXT has no value"),
    ],
)
def test_a_bad_line_of_the_body_is_named(body: str, problem: str) -> None:
    """By its number as the cell shows it, or by its key."""
    with pytest.raises(UsageMistake) as caught:
        asked("llama3", body)
    assert problem in caught.value.problem


def test_status_and_down_take_their_flags_alone() -> None:
    """Each flag is there, true or false; a word is a mistake."""
    assert read_switches("--json", STATUS) == {
        "watch": False,
        "json": True,
        "rehearse": False,
    }
    assert read_switches("", DOWN) == {"purge": False, "rehearse": False}
    assert read_switches("--purge", DOWN) == {"purge": True, "rehearse": False}
    assert read_switches("--help", DOWN) is None
    with pytest.raises(UsageMistake, match="llama3"):
        read_switches("llama3", DOWN)
    with pytest.raises(UsageMistake, match="--json"):
        read_switches("--jsn", STATUS)
