"""The report: all that helps, and nothing that is private."""

from __future__ import annotations

import getpass
import json
from dataclasses import replace
from pathlib import Path

import pytest

from spicy_avocado_magic.config.api_keys import ApiKey
from spicy_avocado_magic.config.settings import Settings
from spicy_avocado_magic.doctor import report
from spicy_avocado_magic.doctor.context import Token
from spicy_avocado_magic.doctor.report import Anonymizer, make_report, open_settings
from spicy_avocado_magic.protocol.event_log import FILE_NAME, STARTED, EventLog
from spicy_avocado_magic.protocol.finding import broken
from spicy_avocado_magic.protocol.state import ApiKeyState, PoolMember, State
from spicy_avocado_magic.protocol.state_folder import StateFolder, write_private
from spicy_avocado_magic.system.redaction import Redactor

from .conftest import New

TOKEN = "2Rn6ZaVPx0AbCdEfGhIjKlMnOpQ_3cQSeYtR9uVwXyZ12345"
OTHER_TOKEN = "2Zz6ZaVPx0AbCdEfGhIjKlMnOpQ_9cQSeYtR9uVwXyZ99999"
AGENTS_TOKEN = "the-agents-own-token-1234"
KEY = "open-sesame-key"
OLD_KEY = "avocado-0123456789abcdef"
METRICS = "metrics-token-1234"
NAMED = "avocado-anns-0123456789"
DOMAIN = "private-name.ngrok.app"
PROXY_PASSWORD = "open-barley"
SECRETS = (
    PROXY_PASSWORD,
    TOKEN,
    OTHER_TOKEN,
    AGENTS_TOKEN,
    KEY,
    OLD_KEY,
    METRICS,
    NAMED,
    DOMAIN,
)
SETTINGS = Settings(
    models=("llama3",),
    token=TOKEN,
    api_key=KEY,
    metrics_token=METRICS,
    domain=DOMAIN,
    keys=(ApiKey(name="bobby", secret=NAMED),),
    context=4096,
)
STATE = State(
    pid=7,
    url=f"https://{DOMAIN}",
    api_key=KEY,
    metrics_token=METRICS,
    keys=(ApiKeyState(name="owner"), ApiKeyState(name="bobby")),
    members=(PoolMember(id="m1"),),
    warnings=(f"Beware of {KEY}.",),
)


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of the user, a short one."""
    monkeypatch.setattr(getpass, "getuser", lambda: "ann")
    return "ann"


def test_no_secret_and_no_name_is_in_a_report(
    new_context: New, home: Path, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings, files, state, findings and logs are redacted, old ones included."""
    monkeypatch.setattr(report, "read_state", lambda _case: STATE)
    folder = StateFolder.find(rehearsal=False)
    write_private(
        folder.agent_config, json.dumps({"agent": {"authtoken": AGENTS_TOKEN}})
    )
    monkeypatch.setenv("https_proxy", f"http://me:{PROXY_PASSWORD}@proxy.example:1")
    recorder = EventLog(folder.path / FILE_NAME, Redactor())
    kept = {"settings": {"keys": ["charly"], "domain": "old-name.ngrok.app"}}
    recorder.record("host", STARTED, f"at {home}/home by ann", facts=kept)
    recorder("charly asked at https://other-name.ngrok-free.app/v1")
    lines = [*SECRETS, f"{home}/home/x of ann, channel", 'a "quoted" \x1b[31mword']
    folder.log("host").write_text("\n".join(lines))
    folder.log("access").write_text("somebody asked something")
    context = new_context(
        settings=SETTINGS, token=Token(text=TOKEN, origin="ann's notebook")
    )
    found = broken(f"{KEY} and {TOKEN} of bobby", f"See {home}/home/file.")
    whole = make_report(context, [found])
    text = json.dumps(whole, ensure_ascii=False)
    for secret in SECRETS:
        assert secret not in text, f"{secret} is in the report"
    names = (f"{home}/home", "bobby", "charly", "old-name", "other-name")
    for name in names:
        assert name not in text, f"{name} is in the report"
    assert not [word for word in text.replace('"', " ").split() if word == "ann"]
    assert "channel" in text, "a name is taken out of the middle of a word"
    assert "\x1b" not in text
    assert "somebody asked" not in text, "the access log is in the report"
    assert whole["events"][1]["text"] == "USER asked at https://•••/v1"
    assert whole["logs"]["host"][-1] == 'a "quoted" word'


def test_a_report_has_everything_that_helps(new_context: New) -> None:
    """It contains findings, versions, settings, state and logs."""
    StateFolder.find(rehearsal=False).log("engine").write_text("one\ntwo\n")
    context = new_context(settings=SETTINGS)
    whole = make_report(context, [broken("It is hot.", "Cool it.", name="gpu")])
    assert whole["findings"]["gpu"] == {
        "verdict": "broken",
        "what": "It is hot.",
        "remedy": "Cool it.",
    }
    assert whole["settings"]["context"] == 4096
    assert whole["settings"]["models"] == ["llama3"]
    assert whole["packages"]["aiohttp"]
    assert whole["logs"] == {"engine": ["one", "two"]}
    assert whole["state"] is None


def test_secret_settings_are_not_even_named(new_context: New) -> None:
    """Fields that are not in the repr are not in the report."""
    shown = open_settings(SETTINGS)
    assert not {"token", "api_key", "metrics_token", "keys"} & set(shown)
    assert set(shown) > {"models", "context", "sources"}


def test_only_the_end_of_a_log_is_reported(new_context: New) -> None:
    """Its length does not matter."""
    log = StateFolder.find(rehearsal=False).log("engine")
    log.write_text("".join(f"line {n}\n" for n in range(100_000)))
    tail = make_report(new_context(), [])["logs"]["engine"]
    assert tail[-1] == "line 99999"
    assert len(tail) == 60


def test_a_log_that_may_contain_prompts_is_left_out(new_context: New) -> None:
    """Only the user may read prompts."""
    StateFolder.find(rehearsal=False).log("engine").write_text("prompt=secret plans")
    settings = Settings(engine_env=(("OLLAMA_DEBUG", "2"),))
    logs = make_report(new_context(settings=settings), [])["logs"]
    assert "secret plans" not in str(logs), "a prompt is in the report"
    assert "left out" in logs["engine"][0]


def test_names_are_replaced_as_whole_words_and_home_is_shortened() -> None:
    """That includes a name that is the beginning of another."""
    clean = Anonymizer(["hunter22"], ["ann", "anna"], Path("/home/anna"))
    assert clean("ann, anna and hannah: /home/anna/x hunter22") == (
        "USER, USER and hannah: ~/x •••"
    )
    assert clean.clean({"ann": ["hunter22", 7, None]}) == {"ann": ["•••", 7, None]}


def test_without_names_and_with_root_as_home_nothing_is_replaced() -> None:
    """A home of ``/`` does not match every path."""
    assert Anonymizer([], [], Path("/"))("/etc/hosts") == "/etc/hosts"


def test_an_error_is_reported_in_place_of_the_state(new_context: New) -> None:
    """The report is made all the same."""
    from spicy_avocado_magic.errors import DaemonUnreachable

    def fail(_case: object) -> State:
        raise DaemonUnreachable("It hangs.", "End it.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "read_state", fail)
        assert make_report(new_context(), [])["state"] == "It hangs. End it."


def test_keys_are_numbered_in_a_report(new_context: New) -> None:
    """Their number helps, their names do not."""
    shown = report.open_state(replace(STATE, url=""))
    assert [key["name"] for key in shown["keys"]] == ["key 0", "key 1"]
    assert shown["members"] == []
