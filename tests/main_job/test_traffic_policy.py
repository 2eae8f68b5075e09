"""Requests without a key end at the edge: the whole product, with its rule in force."""

from __future__ import annotations

from typing import Any

import anthropic
import ollama
import openai
import pytest
import requests

from spicy_avocado_magic.client.handle import Avocado
from spicy_avocado_magic.client.state_text import status_text
from spicy_avocado_magic.config.settings import Endpoints
from spicy_avocado_magic.protocol.state import State
from spicy_avocado_magic.tunnel.ngrok.traffic_policy import DENIED_HEADER
from tests.machine_speed import scaled

from .chat import stream_chat
from .home import Home

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Hello"}]}


def _state(avocado: Avocado) -> State:
    state = avocado.status()
    assert state is not None, "the host is gone"
    return state


class KeylessOpenAI(openai.OpenAI):
    """The stock client without the header that it insists on."""

    def _prepare_request(self, request: Any) -> None:
        request.headers.pop("Authorization")


class KeylessAnthropic(anthropic.Anthropic):
    """The stock client without the header that it insists on."""

    def _prepare_request(self, request: Any) -> None:
        for name in ("x-api-key", "Authorization"):  # versions differ in which it is
            request.headers.pop(name, None)


def test_only_requests_with_a_key_reach_the_gateway(running: Avocado) -> None:
    """On one connection, in any order; what needs no key passes as well."""
    url, key = running.url, {"Authorization": f"Bearer {running.api_key}"}
    before = _state(running)
    with requests.Session() as session:
        for _ in range(3):
            denied = session.post(f"{url}/v1/chat/completions", json=CHAT)
            assert denied.status_code == 401
            assert denied.headers[DENIED_HEADER] == "denied"
            assert denied.json()["error"]["code"] == "invalid_api_key"
            assert session.get(f"{url}/api/tags").status_code == 401
            good = session.post(f"{url}/v1/chat/completions", json=CHAT, headers=key)
            assert good.status_code == 200, good.text
            assert session.get(f"{url}/").status_code == 200
            preflight = session.options(f"{url}/v1/chat/completions")
            assert preflight.status_code != 401
            assert DENIED_HEADER not in preflight.headers
        after = _state(running)
        assert after.refused == before.refused, "a keyless request reached the gateway"
        assert after.requests == before.requests + 3
        wrong = {"Authorization": "Bearer wrong-key-0123456789"}
        refused = session.post(f"{url}/v1/chat/completions", json=CHAT, headers=wrong)
    assert refused.status_code == 401
    assert DENIED_HEADER not in refused.headers, "the edge judged a key"
    assert _state(running).refused == before.refused + 1


def test_stock_clients_raise_their_own_errors(running: Avocado) -> None:
    """Each is denied in its own dialect, as by the gateway."""
    url, before = running.url, _state(running)
    with (
        KeylessOpenAI(
            base_url=f"{url}/v1", api_key="x", max_retries=0
        ) as openai_client,
        pytest.raises(openai.AuthenticationError, match="API key is needed"),
    ):
        openai_client.models.list()
    with (
        KeylessAnthropic(base_url=url, api_key="x", max_retries=0) as claude,
        pytest.raises(anthropic.AuthenticationError, match="authentication_error"),
    ):
        claude.messages.create(
            model="tiny", max_tokens=1, messages=[{"role": "user", "content": "Hello"}]
        )
    with ollama.Client(host=url) as ollama_client:
        with pytest.raises(ollama.ResponseError, match="API key is needed") as denied:
            ollama_client.list()
        assert denied.value.status_code == 401
    assert _state(running).refused == before.refused, "one of them reached the gateway"


def test_where_no_header_is_needed_there_is_no_rule(home: Home) -> None:
    """A key in the path, or none at all, passes; the URL stays the same."""
    avocado = home.up("tiny")
    url, key = avocado.url, avocado.api_key
    assert home.up(path_key=True).url == url
    in_path = requests.post(
        f"{url}/{key}/v1/chat/completions", json=CHAT, timeout=scaled(10)
    )
    assert in_path.status_code == 200, in_path.text
    assert home.up(no_auth=True).url == url
    without = requests.post(f"{url}/v1/chat/completions", json=CHAT, timeout=scaled(10))
    assert without.status_code == 200, without.text


def test_a_plan_without_traffic_policy_has_its_tunnel_and_one_warning(
    home: Home, world: Endpoints
) -> None:
    """What the edge does not do, the gateway does."""
    token = "ruleless-account-of-the-edge-0001"
    avocado = home.up("tiny", sources=world, token=token)
    state = _state(avocado)
    assert len(state.warnings) == 1, state.warnings
    assert "15004" in state.warnings[0]
    assert status_text(state).count("15004") == 1, "it is shown more than once"
    assert stream_chat(avocado.url, avocado.api_key)
    denied = requests.post(f"{avocado.url}/api/chat", json=CHAT, timeout=scaled(10))
    assert denied.status_code == 401
    assert _state(avocado).refused == 1
