"""The parser of ``%avocado_up`` with its cell body."""

from __future__ import annotations

import re
from typing import Any

import pytest

from spicy_avocado_magic.errors import SecretMissing, UsageError
from spicy_avocado_magic.notebook.line.up_line import LITERAL_ADVICE, UpLine, parse_up
from spicy_avocado_magic.notebook.line.variables import VariableResolver

TOKEN = "2abcdefghijklmnopqrstuvwxyz_0123456789"


def names(environ: dict[str, str] | None = None, **namespace: Any) -> VariableResolver:
    """Return a notebook with these variables and this environment."""
    return VariableResolver(namespace=namespace, environ=environ or {})


def asked(
    line: str, body: str | None = None, where: VariableResolver | None = None
) -> UpLine:
    """Return the request and the notices of a line."""
    return parse_up(line, body, where or names())


def given(
    line: str, body: str | None = None, where: VariableResolver | None = None
) -> dict[str, Any]:
    """Return the settings that a line gives."""
    return dict(asked(line, body, where).request.given)


def test_models_and_options_may_stand_in_any_order() -> None:
    """Words are models wherever they stand."""
    settings = given("llama3 --context 8192 qwen3:8b --local --ttl=2h")
    assert settings == {
        "models": ("llama3", "qwen3:8b"),
        "context": 8192,
        "local": True,
        "ttl_s": 7200.0,
    }


def test_a_flag_is_undone_with_false() -> None:
    """A running value of a flag can be taken back."""
    assert given("--local=false --manage=on") == {"local": False, "manage": True}


def test_switches_of_the_call_are_not_settings() -> None:
    """They apply to this call only."""
    request = asked("tiny --only --background --restart --rehearse").request
    assert (request.only, request.background, request.restart, request.rehearse) == (
        True,
    ) * 4
    assert dict(request.given) == {"models": ("tiny",)}


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
        ("{MODEL}", "{MODEL} is not replaced", "$MODEL"),
        ("bad//name", "'bad//name' is not a model", "llama3"),
    ],
)
def test_an_error_names_the_problem_and_the_remedy(
    line: str, problem: str, remedy: str
) -> None:
    """What is wrong comes first, what to type second."""
    with pytest.raises(UsageError) as caught:
        asked(line)
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


def test_the_value_of_a_misspelt_option_is_not_repeated() -> None:
    """It may be the token."""
    with pytest.raises(UsageError) as caught:
        asked(f"--tokn={TOKEN}")
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("text", ["$NGROK", "${NGROK}", "'$NGROK'"])
def test_a_variable_is_looked_up_for_each_argument(text: str) -> None:
    """An undefined variable elsewhere does not matter, nor do spaces in the value."""
    settings = given(f"--token {text}", where=names(NGROK="two words"))
    assert settings == {"token": "two words"}


def test_notebook_variables_precede_environment_and_secrets() -> None:
    """The first place that has the name is used."""
    everywhere = VariableResolver(
        namespace={"A": "notebook", "C": None},
        environ={"A": "environment", "B": "environment"},
        platform_secret={"A": "secret", "B": "secret", "C": "secret"}.get,
    )
    found = [everywhere.resolve(f"${name}") for name in "ABC"]
    assert found == ["notebook", "environment", "secret"]


def test_an_undefined_variable_is_named() -> None:
    """The message says which one."""
    with pytest.raises(SecretMissing, match=r"\$NGROK is not defined"):
        asked("llama3 --token $NGROK")


def test_an_empty_variable_is_named() -> None:
    """An empty token is reported before it is used."""
    with pytest.raises(SecretMissing, match=r"\$NGROK is empty"):
        asked("llama3 --token $NGROK", where=names(NGROK=" "))


@pytest.mark.parametrize(
    "value", ["llama3 qwen3", "llama3, qwen3", ["llama3", "qwen3"], ("llama3", "qwen3")]
)
def test_a_variable_may_hold_several_models(value: object) -> None:
    """One notebook variable says what is served."""
    settings = given("$MODEL gemma3", where=names(MODEL=value))
    assert settings == {"models": ("llama3", "qwen3", "gemma3")}


@pytest.mark.parametrize(
    "line", ["tiny --rehearse --token $NGROK", "tiny --rehearse --token=${NGROK}"]
)
def test_a_rehearsal_needs_no_token(line: str) -> None:
    """A notebook runs unchanged where its token is not defined."""
    assert given(line) == {"models": ("tiny",)}


def test_the_environment_can_make_it_a_rehearsal() -> None:
    """``AVOCADO_REHEARSE=1`` is as good as the option."""
    request = asked("tiny --token $NGROK", where=names({"AVOCADO_REHEARSE": "1"}))
    assert request.request.rehearse
    assert "token" not in request.request.given


def test_only_the_token_is_left_out_of_a_rehearsal() -> None:
    """Any other name must be there, as it must be later."""
    with pytest.raises(SecretMissing, match=r"\$KEY"):
        asked("tiny --rehearse --api-key $KEY")


def test_a_literal_token_causes_advice() -> None:
    """It works, but everybody who sees the notebook can read it."""
    assert asked(f"llama3 --token {TOKEN}").notices == (LITERAL_ADVICE,)
    for key in ("NGROK_AUTHTOKEN", "AVOCADO_TOKEN"):
        assert asked("llama3", f"{key}={TOKEN}").notices == (LITERAL_ADVICE,)
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
    settings = given("", BODY, names(NGROK=TOKEN, MODELS=["llama3", "qwen3"]))
    assert settings == {
        "engine_env": (("OLLAMA_NUM_PARALLEL", "4"),),
        "token": TOKEN,
        "context": 4096,
        "models": ("llama3", "qwen3"),
    }


@pytest.mark.parametrize("count", range(1, 5))
def test_the_closest_of_four_sources_is_used(count: int) -> None:
    """The line, the cell's body, ``%config``, then the environment."""
    environ = {"AVOCADO_CONTEXT": "1", "AVOCADO_MODEL": "a"}
    defaults = {"context": 2, "models": ("b",)} if count > 1 else {}
    body = "AVOCADO_CONTEXT=3\nAVOCADO_MODEL=c" if count > 2 else ""
    line = "d --context 4" if count > 3 else ""
    request = parse_up(line, body, names(environ), defaults)
    settings = {"context": count, "models": ("abcd"[count - 1],)}
    assert dict(request.request.given) == settings, "another source was used"


@pytest.mark.parametrize(
    ("line", "body", "defaults", "environ", "settings"),
    [
        ("--local", "", {"domain": "a.bc"}, {}, {"local": True}),
        ("--local", "AVOCADO_DOMAIN=a.bc", {}, {}, {"local": True}),
        ("", "AVOCADO_LOCAL=1", {}, {"AVOCADO_DOMAIN": "a.bc"}, {"local": True}),
        ("--domain a.bc", "", {"local": True}, {}, {"domain": "a.bc"}),
        ("", "", {"no_auth": True}, {"AVOCADO_MANAGE": "1"}, {"no_auth": True}),
    ],
)
def test_a_setting_overrides_a_farther_one_that_it_excludes(
    line: str,
    body: str,
    defaults: dict[str, Any],
    environ: dict[str, str],
    settings: dict[str, Any],
) -> None:
    """``--local`` is allowed where a domain is the default."""
    request = parse_up(line, body, names(environ), defaults)
    assert dict(request.request.given) == settings, "the farther value was kept"


def test_two_that_exclude_each_other_on_one_line_are_both_given() -> None:
    """The service refuses them with a remedy: neither is closer."""
    assert given("--local --domain a.bc") == {"local": True, "domain": "a.bc"}


def test_a_wrong_value_in_the_environment_is_named_by_its_variable() -> None:
    """The notebook does not show it."""
    with pytest.raises(UsageError, match="AVOCADO_TTL of the environment: 'soon'"):
        asked("tiny", where=names({"AVOCADO_TTL": "soon"}))


@pytest.mark.parametrize("name", ["AVOCADO_DOMAIN", "AVOCADO_CORS", "AVOCADO_TTL"])
def test_every_option_has_a_variable_of_the_environment(name: str) -> None:
    """Those with another name of their own, such as NGROK_DOMAIN, as well."""
    value = {"AVOCADO_DOMAIN": "a.bc", "AVOCADO_CORS": "*", "AVOCADO_TTL": "2h"}[name]
    assert len(given("", where=names({name: value}))) == 1


@pytest.mark.parametrize("text", ["{1+1}", "{MODEL}", "a{b}c"])
def test_braces_are_not_expanded(text: str) -> None:
    """They are kept, and no model can be called that."""
    with pytest.raises(UsageError, match=re.escape(text)):
        asked(text, where=names(MODEL="llama3", b="x"))


def test_the_line_wins_over_the_body_and_the_body_over_the_environment() -> None:
    """The closest source is used."""
    around = names(
        {"AVOCADO_CONTEXT": "1", "AVOCADO_PORT": "1", "AVOCADO_TTL": "1", "OTHER": "x"}
    )
    body = "AVOCADO_CONTEXT=2\nAVOCADO_PORT=2\nAVOCADO_MODEL=old"
    settings = given("new --context 3", body, around)
    assert settings == {"models": ("new",), "context": 3, "port": 2, "ttl_s": 1.0}


def test_other_variables_of_the_environment_are_not_touched() -> None:
    """A misspelt or unrelated variable of the environment is not an error."""
    assert given("", where=names({"AVOCADO_FARM": "1", "NGROK_DOMAIN": "x.y"})) == {}


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("\n# x\nthis is no setting\n", "Line 4 of this cell"),
        ("OLLAMA_DEBUG=1\nAVOCADO_CONTEXT='8192\n", "Line 3 of this cell"),
        ("\n\nOLLAMA_DEBUG=1\n\n \nno setting\n", "Line 7 of this cell"),
        ("\nprint('x')\n", "Line 3 of this cell"),
        (f"{TOKEN}\n", "Line 2 of this cell"),
        ("OLLAMA_NUM_PARALEL=4", "OLLAMA_NUM_PARALEL is not a known setting"),
        ("OLLAMA_HOST=0.0.0.0", "OLLAMA_HOST cannot be set here"),
        ("AVOCADO_CONTEXT", "AVOCADO_CONTEXT has no value"),
    ],
)
def test_a_wrong_line_of_the_body_is_named(body: str, problem: str) -> None:
    """By its number as the cell shows it, or by its key."""
    with pytest.raises(UsageError) as caught:
        asked("llama3", body)
    assert problem in caught.value.problem
    assert TOKEN not in str(caught.value), "a token alone on a line is shown"
