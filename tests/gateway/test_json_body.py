"""What of a request body reaches the engine."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spicy_avocado_magic.gateway.error_responses import ErrorResponse
from spicy_avocado_magic.gateway.json_body import sanitize_json_body
from spicy_avocado_magic.gateway.model_allowlist import ModelAllowlist
from spicy_avocado_magic.gateway.routes import BodyKind

SERVED = ModelAllowlist(("tiny",))


def _sent(raw: bytes, sends: BodyKind, *, manage: bool) -> Any:
    sent = sanitize_json_body(raw, sends, SERVED, may_manage=manage).content
    assert isinstance(sent, bytes)
    return json.loads(sent)


def call(raw: str | bytes, *, manage: bool = False) -> Any:
    """Return what the engine would get of an inference call."""
    raw = raw if isinstance(raw, bytes) else raw.encode()
    return _sent(raw, BodyKind.MODEL_CALL, manage=manage)


def order(body: Any) -> Any:
    """Return what the engine would get of an order."""
    raw = json.dumps(body).encode()
    return _sent(raw, BodyKind.MANAGEMENT, manage=True)


def refused(raw: str | bytes) -> int:
    """Return the status with which an inference call is refused."""
    with pytest.raises(ErrorResponse) as caught:
        call(raw)
    return caught.value.status


@pytest.mark.parametrize(
    "raw",
    [
        '{"model":"tiny","MODEL":"other"}',
        '{"model":"tiny","model":"other"}',
        '{"model":"tiny","stream":true,"\u017ftream":false}',
        '{"model":"tiny","options":{"seed":1,"Seed":2}}',
        '{"model":"tiny","options":{},"Options":{}}',
        '{"model":"tiny","keep_alive":0,"\u212aeep_alive":1}',
    ],
)
def test_keys_that_the_engine_would_take_for_one_are_refused(raw: str) -> None:
    """Go matches keys without case and the last wins: what was checked must run."""
    assert refused(raw) == 400, f"{raw} went through"


def test_tools_may_have_names_that_differ_in_case() -> None:
    """Only where the engine reads keys of its own are twins a danger."""
    body = {"model": "tiny", "tools": [{"properties": {"Name": 1, "name": 2}}]}
    assert call(json.dumps(body)) == body, "a deep object was changed"


def test_keys_arrive_in_the_spelling_of_the_api() -> None:
    """Another spelling of a key is what the engine would read it as."""
    sent = '{"MODEL":"tiny","Stream":true,"OPTIONS":{"Seed":1}}'
    assert call(sent) == {"model": "tiny", "stream": True, "options": {"seed": 1}}


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "[]",
        '"tiny"',
        "null",
        "{",
        '{"model":"tiny"}{}',
        '{"model":"tiny","x":NaN}',
        '{"model":"tiny","x":1e999}',
        '{"model":"tiny","x":' + "9" * 5000 + "}",
        '{"model":"tiny","x":' + "[" * 100_000,
        '{"model":"tiny","options":[]}',
        '\ufeff{"model":"tiny"}',
        b'{"model":"tiny","x":"\xff"}',
        '{"model":"tiny"}'.encode("utf-16"),
        "{}",
        '{"model":""}',
        '{"model":null}',
        '{"model":["tiny"]}',
        '{"model":"tiny","name":1}',
    ],
)
def test_what_is_no_clear_object_with_a_model_is_refused(raw: str | bytes) -> None:
    """A body that two readers could read differently goes to neither."""
    assert refused(raw) == 400, "the body went through"


@pytest.mark.parametrize(
    "raw",
    ['{"model":"other"}', '{"name":"other"}', '{"model":"tiny","name":"other"}'],
)
def test_a_model_that_is_not_served_is_not_found(raw: str) -> None:
    """Neither field can name another model."""
    assert refused(raw) == 404, f"{raw} went through"


def test_nobody_reloads_the_model_for_all_the_others() -> None:
    """What unloads or reloads a model is dropped, whatever its spelling."""
    sent = {
        "model": "tiny",
        "Keep_Alive": 0,
        "shift": False,
        "options": {
            "NUM_CTX": 9,
            "num_gpu": 0,
            "num_batch": 1,
            "main_gpu": 1,
            "use_mmap": False,
            "num_thread": 1,
            "draft_num_predict": 1,
            "seed": 1,
        },
    }
    assert call(json.dumps(sent)) == {"model": "tiny", "options": {"seed": 1}}


def test_who_manages_may_reload_the_model() -> None:
    """The owner's own settings reach the engine."""
    sent = {"model": "tiny", "keep_alive": 0, "options": {"num_ctx": 9}}
    assert call(json.dumps(sent), manage=True) == sent


def test_text_survives_the_way() -> None:
    """Any text, half surrogates too, is what it was."""
    sent = '{"model":"tiny","prompt":"\\ud800 \\u0000 🥑 </script>"}'
    assert call(sent) == json.loads(sent)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"model": "169.254.169.254/x/y", "insecure": True}, 403),
        ({"name": "evil.example:5000/library/tiny"}, 403),
        ({"model": "mine", "from": "evil.example/a/b"}, 403),
        ({"model": "hf.co:444/a/b"}, 403),
        ({"model": "https:/a/b"}, 403),
        ({"model": "https://hf.co/a/b"}, 400),
        ({"model": "x", "from": "registry.ollama.ai@evil.example/a/b"}, 400),
        ({"model": "x", "from": "/etc/passwd"}, 400),
        ({"model": "x", "from": 1}, 400),
        ({"model": "x", "remote_host": "https://ollama.com"}, 403),
        ({"model": "x", "Remote_Host": "https://ollama.com"}, 403),
        ({"model": "x", "from": "gpt-oss:cloud"}, 403),
        ({"model": "gpt-oss:120b-cloud"}, 403),
        ({"source": "gpt-oss:cloud", "destination": "mine"}, 403),
        ({"source": "mine", "destination": "a b"}, 400),
        ({"source": ["mine"], "destination": "x"}, 400),
        ({"model": "a b"}, 400),
    ],
)
def test_orders_reach_known_registries_only(body: Any, status: int) -> None:
    """A pull from anywhere else could reach into the cloud's metadata service."""
    with pytest.raises(ErrorResponse) as caught:
        order(body)
    assert caught.value.status == status, f"{body} went through"


def test_orders_to_known_registries_go_on() -> None:
    """The registries of Ollama and Hugging Face are allowed, over TLS alone."""
    assert order({"model": "huggingface.co/a/b"}), "the longer name of hf.co"
    assert order({"model": "hf.co/user/repo:Q4", "insecure": True}) == {
        "model": "hf.co/user/repo:Q4"
    }
    assert order({"source": "tiny", "destination": "mine"}) == {
        "source": "tiny",
        "destination": "mine",
    }


def test_an_order_may_name_a_registry_that_the_owner_named() -> None:
    """``--registry HOST`` opens that one, whatever its case."""
    raw = b'{"model":"Mine.Example:5000/a/b","from":"hf.co/a/b"}'
    named = ModelAllowlist((), registries=("mine.example:5000",))
    sent = sanitize_json_body(raw, BodyKind.MANAGEMENT, named, may_manage=True)
    assert sent.model == "Mine.Example:5000/a/b:latest"
    other = ModelAllowlist((), registries=("mine.example",))
    with pytest.raises(ErrorResponse):
        sanitize_json_body(raw, BodyKind.MANAGEMENT, other, may_manage=True)


@pytest.mark.parametrize(
    "body",
    [
        {"model": "other"},
        {"name": "other"},
        {"model": "tiny", "from": "other"},
        {"source": "other", "destination": "tiny"},
        {"source": "tiny", "destination": "other"},
    ],
)
def test_a_key_for_some_models_changes_only_those(body: Any) -> None:
    """Else it could copy any other model to a name that it may use."""
    only = ModelAllowlist(("tiny", "other")).restricted(("tiny",))
    raw = json.dumps(body).encode()
    with pytest.raises(ErrorResponse) as caught:
        sanitize_json_body(raw, BodyKind.MANAGEMENT, only, may_manage=True)
    assert caught.value.status == 404, f"{body} went through"
    assert "other:latest," not in caught.value.message, "models are named that it lacks"


def test_a_key_for_some_models_may_change_those() -> None:
    """Under every spelling of the engine's."""
    only = ModelAllowlist(("other",)).restricted(("tiny",))
    raw = b'{"model":"library/TINY","from":"tiny:latest"}'
    sent = sanitize_json_body(raw, BodyKind.MANAGEMENT, only, may_manage=True)
    assert sent.model == "TINY:latest"


def test_an_echo_of_a_name_is_short() -> None:
    """A name of megabytes is not sent back, nor what a terminal would obey."""
    for raw in (b'{"model":"' + b" x" * 10**6 + b'"}', b'{"model":"\\u001b[31m x"}'):
        for sends in (BodyKind.MANAGEMENT, BodyKind.MODEL_CALL):
            with pytest.raises(ErrorResponse) as caught:
                sanitize_json_body(raw, sends, SERVED, may_manage=True)
            assert len(caught.value.message) < 300, "a long name is echoed whole"
            assert "\x1b" not in caught.value.message, "control characters are echoed"


NESTED = (b"[" * 300 + b"]" * 300, b'{"a":' * 300 + b"0" + b"}" * 300)


@pytest.mark.parametrize("value", NESTED, ids=["lists", "objects"])
def test_values_within_one_another_count_too(value: bytes) -> None:
    """There is no comma between them."""
    many = b'{"model":"tiny","x":[' + b",".join([value] * 2000) + b"]}"
    assert refused(many) == 413, "it was parsed"


@pytest.mark.parametrize("value", [b"[]", b'{"a":0}', b"0", b"{}"])
def test_a_body_of_very_many_values_is_not_parsed(value: bytes) -> None:
    """Its objects would take many times the memory it came as, and block the loop."""
    many = b'{"model":"tiny","x":[' + b",".join([value] * 600_000) + b"]}"
    assert refused(many) == 413, "it was parsed"
    few = b'{"model":"tiny","context":[' + b",".join([b"1"] * 400_000) + b"]}"
    assert len(call(few)["context"]) == 400_000, "a long context is refused"


def test_text_does_not_grow_on_its_way() -> None:
    """What is not ASCII needs no escapes."""
    raw = '{"model":"tiny","prompt":"' + "ü🥑" * 1000 + '"}'
    sent = sanitize_json_body(
        raw.encode(), BodyKind.MODEL_CALL, SERVED, may_manage=False
    )
    assert sent.content == raw.encode(), "it was escaped"
    assert sent.length == len(raw.encode()), "the length is wrong"


@pytest.mark.parametrize(
    ("stream", "expected"),
    [("true", True), ("false", False), ("1", False), ("null", False)],
)
def test_a_stream_is_one_that_the_engine_would_make(
    stream: str, expected: object
) -> None:
    """Comments may only stand in what the client reads as events."""
    raw = f'{{"model":"tiny","Stream":{stream}}}'.encode()
    sent = sanitize_json_body(raw, BodyKind.MODEL_CALL, SERVED, may_manage=False)
    assert sent.is_stream is expected
    assert (sent.model, sent.content_type) == ("tiny:latest", "application/json")


_KEYS = st.sampled_from(["model", "MODEL", "Model", "name", "NAME", "options", "x"])
_NAMES = st.sampled_from(["tiny", "other", "TINY:latest", "tiny:cloud", "", "a/b/c/d"])


@given(st.lists(st.tuples(_KEYS, _NAMES), max_size=5))
def test_no_body_names_another_model(pairs: list[tuple[str, str]]) -> None:
    """Read as Go reads it, a body that goes on names a served model and no other."""
    raw = "{" + ",".join(f"{json.dumps(k)}:{json.dumps(v)}" for k, v in pairs) + "}"
    try:
        body = call(raw)
    except ErrorResponse:
        return
    names = [v for k, v in body.items() if k.lower() in {"model", "name"} and v]
    assert names, "a body without a model went on"
    assert all(SERVED.has(name) for name in names), f"{raw} went on as {body}"


def test_options_that_are_null_are_none() -> None:
    """Some clients send them so; the engine takes it."""
    assert call('{"model":"tiny","options":null}')["options"] is None


def test_a_name_that_is_null_is_not_sent_on() -> None:
    """It counts as not given, here and there."""
    assert call('{"model":"tiny","name":null}') == {"model": "tiny"}
