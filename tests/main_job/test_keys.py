"""Keys for others, in rehearsal: given, bounded, used, taken back, kept."""

from __future__ import annotations

import json
import os
import signal
import stat
import threading
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import requests

from spicy_avocado_magic import down
from spicy_avocado_magic.client.control_client import ControlClient
from spicy_avocado_magic.client.handle import Avocado
from spicy_avocado_magic.config.api_keys import MAX_NAMED_KEYS
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.errors import ModelUnavailable, UsageError
from spicy_avocado_magic.protocol.control_messages import (
    UpMessage,
    UpReply,
    WithdrawMessage,
    WithdrawReply,
)
from spicy_avocado_magic.protocol.state import ApiKeyState, State
from spicy_avocado_magic.protocol.state_folder import StateFolder
from tests.machine_speed import scaled

from .chat import stream_chat
from .home import Home

QUICK = Timeouts(usage_every_s=0.05)
LONG = "word " * 3000
"""What the rehearsal's engine takes half a minute to repeat."""


def _state(avocado: Avocado) -> State:
    state = avocado.status()
    assert state is not None, "the host is gone"
    return state


def _key(avocado: Avocado, name: str) -> ApiKeyState:
    keys = avocado.keys()
    return keys[[key.name for key in keys].index(name)]


def _names(avocado: Avocado) -> list[str]:
    keys = avocado.keys()
    return [key.name for key in keys]


def _chat(avocado: Avocado, key: str) -> requests.Response:
    """Ask through the public URL, as a program without a client library does."""
    messages = [{"role": "user", "content": "Say avocado"}]
    return requests.post(
        f"{avocado.url}/v1/chat/completions",
        json={"model": "tiny", "messages": messages, "stream": True},
        headers={"Authorization": f"Bearer {key}"},
        timeout=scaled(20),
    )


def _code(response: requests.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def _wait_for(is_so: Any, within_s: float = scaled(10.0)) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, "what was waited for did not come about"
        time.sleep(0.02)


def _kill(home: Home, avocado: Avocado) -> None:
    os.kill(_state(avocado).pid, signal.SIGKILL)
    assert not home.wait_no_processes(), "something outlived the host"


def _folder() -> StateFolder:
    return StateFolder.find(rehearsal=True)


@pytest.fixture
def lent(running: Avocado) -> Iterator[Avocado]:
    """Lend the module's service; keys that a test gave are taken back after it."""
    yield running
    for name in _names(running)[1:]:
        running.revoke_key(name)


def _written(name: str) -> int:
    """Return a key's count of answer tokens on disk."""
    text = _folder().usage.read_text() if _folder().usage.exists() else "[]"
    counts = {count["name"]: count["tokens_out"] for count in json.loads(text)}
    return int(counts.get(name, 0))


def test_a_key_opens_until_it_is_taken_back_and_the_url_stays(lent: Avocado) -> None:
    """Nothing but who is let in changes: not the URL, not a component, not the host."""
    before, asked = _state(lent), _key(lent, "owner").requests
    key = lent.add_key("ann").get_secret_value()
    assert stream_chat(lent.url, key), "the new key does not open at once"
    assert stream_chat(lent.url, lent.api_key), "the owner's key stopped opening"
    ann, owner = _key(lent, "ann"), _key(lent, "owner")
    assert (ann.requests, owner.requests - asked) == (1, 1), (
        "use is counted for the wrong key"
    )
    assert ann.tokens_out > 0, "the tokens of the chat were not counted"
    assert ann.idle_s is not None, "when it was last used is missing"
    lent.revoke_key("ann")
    with pytest.raises(openai.AuthenticationError):
        stream_chat(lent.url, key)
    after = _state(lent)
    assert after.url == before.url, "the URL changed"
    assert (after.pid, after.sequence) == (before.pid, before.sequence), (
        "a component was touched"
    )


def test_a_key_is_bounded_in_requests_a_minute(lent: Avocado) -> None:
    """One too many gets the time of the next free one; other keys are not delayed."""
    key = lent.add_key("ann", rpm=2).get_secret_value()
    tags = f"{lent.local_url}/api/tags"
    head = {"x-api-key": key}
    codes = [requests.get(tags, headers=head, timeout=scaled(5)) for _ in range(3)]
    assert [reply.status_code for reply in codes] == [200, 200, 429]
    assert 0 < int(codes[2].headers["Retry-After"]) <= 61
    own = requests.get(tags, headers={"x-api-key": lent.api_key}, timeout=scaled(5))
    assert own.status_code == 200, "one caller's bound held for another"


def test_a_key_is_bounded_in_tokens_over_its_lifetime(lent: Avocado) -> None:
    """What is used up stays so; a new key of the same name starts at zero."""
    key = lent.add_key("ann", tokens=2).get_secret_value()
    with pytest.raises(openai.APIError, match="tokens"):
        stream_chat(lent.url, key)
    assert _key(lent, "ann").tokens_out >= 2, "the tokens were not counted"
    assert _code(_chat(lent, key)) == (429, "insufficient_quota")
    lent.revoke_key("ann")
    again = lent.add_key("ann", tokens=1000).get_secret_value()
    assert _key(lent, "ann").tokens_out == 0, "a new key inherits what was used"
    assert stream_chat(lent.url, again)


def test_a_key_is_bounded_to_its_models(home: Home) -> None:
    """Any other model does not exist for it, nor in its listings."""
    avocado = home.up("tiny", "other")
    key = avocado.add_key("ann", models=["other"]).get_secret_value()
    assert stream_chat(avocado.url, key, "other")
    with pytest.raises(openai.NotFoundError):
        stream_chat(avocado.url, key, "tiny")
    head = {"Authorization": f"Bearer {key}"}
    listed = requests.get(
        f"{avocado.url}/v1/models", headers=head, timeout=scaled(5)
    ).json()
    assert [model["id"] for model in listed["data"]] == ["other:latest"]


@pytest.mark.alone
def test_a_key_that_expires_opens_nothing_and_frees_its_name(
    lent: Avocado,
) -> None:
    """It ends an open stream, is listed as expired, and its name is free."""
    key = lent.add_key("ann", expires=1.5).get_secret_value()
    assert stream_chat(lent.url, key), "it does not open before its time"
    began = time.monotonic()
    with pytest.raises((openai.APIError, requests.RequestException)):
        for _ in _words(lent, key):
            pass
    assert time.monotonic() - began < scaled(3), "the stream outlived the key"
    with pytest.raises(openai.AuthenticationError):
        stream_chat(lent.url, key)
    expires_in_s = _key(lent, "ann").expires_in_s
    assert expires_in_s is not None
    assert expires_in_s <= 0, "it is not listed as expired"
    again = lent.add_key("ann").get_secret_value()
    assert stream_chat(lent.url, again)
    assert _names(lent) == ["owner", "ann"]


def _words(avocado: Avocado, key: str, url: str = "") -> Iterator[str]:
    """Yield the words of the answer to a long prompt."""
    base = f"{url or avocado.url}/v1"
    with (
        openai.OpenAI(base_url=base, api_key=key, max_retries=0) as client,
        client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": LONG}], stream=True
        ) as stream,
    ):
        for chunk in stream:
            yield chunk.choices[0].delta.content or ""


@pytest.mark.alone
def test_taking_a_key_back_ends_its_open_streams_within_a_second(home: Home) -> None:
    """A stream with that key ends with an error; one with another key goes on."""
    avocado = home.up("tiny", engine_env=(("OLLAMA_NUM_PARALLEL", "2"),))
    keys = {name: avocado.add_key(name).get_secret_value() for name in ("ann", "bob")}
    errors: dict[str, tuple[float, Exception]] = {}
    streaming = {name: threading.Event() for name in keys}

    def listen(name: str) -> None:
        try:
            for _ in _words(avocado, keys[name]):
                streaming[name].set()
        except openai.APIError as error:
            errors[name] = (time.monotonic(), error)

    threads = {name: threading.Thread(target=listen, args=(name,)) for name in keys}
    for thread in threads.values():
        thread.start()
    for event in streaming.values():
        assert event.wait(scaled(10)), "a stream did not begin"
    began = time.monotonic()
    avocado.revoke_key("ann")
    threads["ann"].join(scaled(5))
    assert "ann" in errors, "the stream went on after its key was taken back"
    at, error = errors["ann"]
    assert at - began < 1, f"it ended only after {at - began:.2f} s"
    assert "no longer valid" in str(error), f"its holder got: {error}"
    streaming["bob"].clear()
    assert streaming["bob"].wait(scaled(5)), "a stream with another key was ended too"
    avocado.revoke_key("bob")
    threads["bob"].join(scaled(5))


def test_keys_and_what_they_used_outlive_a_killed_host(home: Home) -> None:
    """`up` after a crash: the same keys open, and their tokens count on."""
    avocado = home.up("tiny", policy=QUICK)
    key = avocado.add_key("ann", tokens=2, rpm=100).get_secret_value()
    other = avocado.add_key("carl", expires="1h").get_secret_value()
    gone = avocado.add_key("bob").get_secret_value()
    with pytest.raises(openai.APIError, match="tokens"):
        stream_chat(avocado.url, key)
    avocado.revoke_key("bob")
    used = _key(avocado, "ann")
    _wait_for(lambda: _written("ann") == used.tokens_out)
    assert stat.S_IMODE(_folder().usage.stat().st_mode) == 0o600
    assert key not in _folder().usage.read_text(), "a secret is in the counts"
    _kill(home, avocado)
    again = home.up(policy=QUICK)
    now = _key(again, "ann")
    assert (now.requests, now.tokens_in, now.tokens_out, now.tokens, now.rpm) == (
        used.requests,
        used.tokens_in,
        used.tokens_out,
        2,
        100,
    ), "what was used before the crash is lost"
    assert now.idle_s is not None, "when it was last used is lost"
    assert now.idle_s < 60, f"it was last used {now.idle_s} s ago"
    with pytest.raises(openai.AuthenticationError):
        stream_chat(again.url, gone)
    assert _code(_chat(again, key)) == (429, "insufficient_quota"), "it starts again"
    assert stream_chat(again.url, other), "a key that was never used is lost"
    expires_in_s = _key(again, "carl").expires_in_s
    assert expires_in_s is not None
    assert 3000 < expires_in_s < 3600, "the time until it expires began again"


def test_a_new_key_of_an_old_name_starts_at_zero_after_a_crash(home: Home) -> None:
    """The counts of another key, even under the same name, are not its own."""
    avocado = home.up("tiny", policy=QUICK, local=True)
    key = avocado.add_key("ann").get_secret_value()
    assert stream_chat(avocado.local_url, key)
    _wait_for(lambda: _written("ann"))
    counts = _folder().usage.read_text()
    avocado.revoke_key("ann")
    avocado.add_key("ann")
    _kill(home, avocado)
    _folder().usage.write_text(counts)
    home.up()
    assert _key(avocado, "ann").requests == 0, "a new key inherits what was used"


def test_keys_and_use_outlive_restart_and_changes_of_the_service(home: Home) -> None:
    """What is asked of `up`, even another owner's key, leaves named keys alone."""
    avocado = home.up("tiny")
    key = avocado.add_key("ann", tokens=100_000).get_secret_value()
    assert stream_chat(avocado.url, key)
    used = _key(avocado, "ann").tokens_out
    home.up("other", api_key="second-key-0123456789")
    assert stream_chat(avocado.url, key, "other"), "a change of the service took it"
    used = _key(avocado, "ann").tokens_out
    home.up(restart=True)
    assert stream_chat(avocado.url, key), "a restart took the key"
    assert _key(avocado, "ann").tokens_out > used > 0, "a restart forgot the use"


def test_an_up_that_is_taken_back_leaves_keys_given_in_between(home: Home) -> None:
    """Only what that `up` asked for is undone."""
    avocado = home.up("tiny", local=True)
    gone = avocado.add_key("bob").get_secret_value()
    host = ControlClient(_folder().socket)
    change = host.post(
        "/up", UpMessage(given={"path_key": True}, only=False), UpReply
    ).change
    key = avocado.add_key("ann").get_secret_value()
    avocado.revoke_key("bob")
    assert host.post("/withdraw", WithdrawMessage(change=change), WithdrawReply).done
    assert stream_chat(avocado.local_url, key), "a key given in between was undone"
    with pytest.raises(openai.AuthenticationError):
        stream_chat(avocado.local_url, gone)
    assert not _state(avocado).path_key, "nothing was taken back"


@pytest.mark.parametrize("is_restart", [True, False], ids=["restart", "crash"])
def test_an_up_that_fails_after_the_host_has_gone_does_not_lose_the_keys(
    home: Home, is_restart: bool
) -> None:
    """What that `up` had begun is taken back, a token it was given too; no more."""
    avocado = home.up("tiny", policy=QUICK, local=True)
    owner, key = avocado.api_key, avocado.add_key("ann").get_secret_value()
    assert stream_chat(avocado.local_url, key)
    _wait_for(lambda: _written("ann"))
    if not is_restart:
        _kill(home, avocado)
    with pytest.raises(ModelUnavailable):
        home.up("missing-one", restart=is_restart, local=False)
    assert not home.wait_no_processes(), "something of the failed up still runs"
    assert not _folder().agent_config.exists(), "the token of the failed up is kept"
    again = home.up()
    assert again.api_key == owner, "the owner's key is another one"
    assert again.models == ("tiny",), "the model that failed is still wanted"
    assert stream_chat(again.local_url, key), "the named key was lost"
    assert _key(again, "ann").requests == 2, "what it had used was lost"


def test_a_key_of_somebody_else_cannot_become_the_owners(
    lent: Avocado, same_home: Home
) -> None:
    """One key stands for one caller."""
    key = lent.add_key("ann").get_secret_value()
    with pytest.raises(UsageError, match="somebody else"):
        same_home.up(api_key=key)


def test_requests_side_by_side_share_what_a_key_may_use(home: Home) -> None:
    """All of them end soon after their tokens are used up together."""
    parallel = (("OLLAMA_NUM_PARALLEL", "8"),)
    avocado = home.up("tiny", engine_env=parallel, local=True)
    key = avocado.add_key("ann", tokens=1500).get_secret_value()
    errors = []

    def listen() -> None:
        try:
            for _ in _words(avocado, key, avocado.local_url):
                pass
        except openai.APIError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=listen) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(scaled(20))
    assert len(errors) == 8, "a stream went on without tokens"
    assert all("tokens" in error for error in errors), errors
    used = _key(avocado, "ann").tokens_out
    assert used < 3 * 1500, f"each of them had all: {used}"


def test_down_removes_keys_and_their_use(home: Home) -> None:
    """A key dies with the service; no secret of it was ever logged."""
    avocado = home.up("tiny", policy=QUICK, local=True)
    key = avocado.add_key("ann").get_secret_value()
    assert stream_chat(avocado.local_url, key)
    _wait_for(lambda: _written("ann"))
    texts = {p.name: p.read_text() for p in _folder().path.iterdir() if p.is_file()}
    holders = [name for name, text in texts.items() if key in text]
    assert holders == ["wanted.json"], f"the key is in {holders}"
    down()
    assert [p.name for p in _folder().path.iterdir()] == ["lock"]
    with pytest.raises(UsageError, match="Nothing is running"):
        avocado.keys()
    with pytest.raises(UsageError, match="Nothing is running"):
        avocado.add_key("ann")
    with pytest.raises(UsageError, match="Nothing is running"):
        avocado.revoke_key("ann")
    home.up("tiny", local=True)
    assert _names(avocado) == ["owner"]
    with pytest.raises(openai.AuthenticationError):
        stream_chat(avocado.local_url, key)


def test_no_key_is_given_where_it_would_have_no_use(home: Home) -> None:
    """Each refusal says what to do; none changes anything."""
    avocado = home.up("tiny", local=True)
    avocado.add_key("ann")
    for arguments, words in (
        ({"name": "ann"}, "already"),
        ({"name": "bob", "manage": True}, "--manage"),
        ({"name": "bob", "models": ["tinny"]}, "Did you mean tiny"),
        ({"name": "bob", "rpm": 100_001}, "100000"),
        ({"name": "bob", "tokens": 0}, "not a number"),
        ({"name": "bob", "expires": "soon"}, "duration"),
        ({"name": "bo b"}, "name of a key"),
    ):
        with pytest.raises(UsageError, match=words):
            avocado.add_key(**arguments)
    with pytest.raises(UsageError, match="Did you mean ann"):
        avocado.revoke_key("anne")
    assert _names(avocado) == ["owner", "ann"]
    home.up(no_auth=True)
    with pytest.raises(UsageError, match="--no-auth"):
        avocado.add_key("bob")
    assert _names(avocado) == ["anybody"]
    home.up(no_auth=False)
    assert _names(avocado) == ["owner", "ann"]


def test_there_are_so_many_keys_and_no_more(lent: Avocado) -> None:
    """Each request is compared with all of them."""
    keys = [
        lent.add_key(f"k{number}").get_secret_value()
        for number in range(MAX_NAMED_KEYS)
    ]
    assert len(set(keys)) == MAX_NAMED_KEYS
    with pytest.raises(UsageError, match=str(MAX_NAMED_KEYS)):
        lent.add_key("one-more")
    assert stream_chat(lent.local_url, keys[-1])


def test_only_a_key_made_to_manage_may_manage(home: Home) -> None:
    """The service must be brought up to be managed, and the key given for it."""
    avocado = home.up("tiny", manage=True, local=True)
    keys = {
        "ann": avocado.add_key("ann").get_secret_value(),
        "bob": avocado.add_key("bob", manage=True).get_secret_value(),
    }
    copy = {"source": "tiny", "destination": "again"}
    url = f"{avocado.local_url}/api/copy"
    codes = {
        name: requests.post(
            url, json=copy, headers={"x-api-key": key}, timeout=scaled(5)
        )
        for name, key in keys.items()
    }
    assert codes["ann"].status_code == 403, "a key without --manage may manage"
    assert codes["bob"].status_code == 200, codes["bob"].text
    home.up(manage=False)
    later = requests.post(
        url, json=copy, headers={"x-api-key": keys["bob"]}, timeout=scaled(5)
    )
    assert later.status_code == 404, "managing goes on after it was switched off"
