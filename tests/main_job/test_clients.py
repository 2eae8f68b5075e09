"""Stock clients through the public URL, configured by that URL and a key alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, Final

import anthropic
import httpx
import ollama
import openai
import pytest

from spicy_avocado_magic.client.handle import Avocado
from tests.machine_speed import scaled

from .home import new_home

HI: Final[Any] = [{"role": "user", "content": "Say avocado"}]
LONG: Final[Any] = [{"role": "user", "content": "word " * 20_000}]
"""The engine repeats it at 50 words a second, so for minutes."""
SCHEMA: Final[Any] = {
    "type": "object",
    "properties": {"City": {"type": "string"}, "city": {"type": "string"}},
}
TOOL: Final[Any] = {
    "type": "function",
    "function": {"name": "weather", "description": "Returns it.", "parameters": SCHEMA},
}
WAIT_S: Final = scaled(20.0)
"""For one short answer; the long one is far from over by then."""


@pytest.fixture(scope="module")
def public() -> Iterator[Avocado]:
    """One host for all of these, with an engine that serves one caller at a time."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("NGROK_AUTHTOKEN", "NGROK_API_KEY", "AVOCADO_REHEARSE"):
            patch.delenv(name, raising=False)
        patch.setenv("AVOCADO_REHEARSAL_TOKEN_S", "0.02")
        with new_home(patch.setenv) as home:
            yield home.up("tiny")


@pytest.fixture
def native(public: Avocado) -> Iterator[ollama.Client]:
    """Ollama's own client."""
    client = ollama.Client(
        host=public.url,
        headers={"Authorization": f"Bearer {public.api_key}"},
        timeout=WAIT_S,
    )
    yield client
    client._client.close()


def test_openai_does_its_work(public: Avocado) -> None:
    """Chat, stream, responses, embeddings, tools and listings."""
    with openai.OpenAI(
        base_url=f"{public.url}/v1", api_key=public.api_key, timeout=WAIT_S
    ) as client:
        chat = client.chat.completions
        whole = chat.create(model="tiny", messages=HI, tools=[TOOL])
        assert "avocado" in (whole.choices[0].message.content or "")
        assert whole.usage is not None, "tokens are not counted"
        stream = chat.create(model="tiny", messages=HI, stream=True)
        words = [c.choices[0].delta.content or "" for c in stream if c.choices]
        assert "avocado" in "".join(words)
        assert len([word for word in words if word]) > 1, "it came in one piece"
        response = client.responses.create(model="tiny", input="Say avocado")
        assert "avocado" in response.output_text
        vectors = client.embeddings.create(model="tiny", input=["a", "b"]).data
        assert len({tuple(vector.embedding) for vector in vectors}) == 2
        assert [model.id for model in client.models.list()] == ["tiny:latest"]


def test_openai_raises_its_own_errors(public: Avocado) -> None:
    """Each with its type, and without a second try."""
    url = f"{public.url}/v1"
    with (
        openai.OpenAI(base_url=url, api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError, match="key is wrong"),
    ):
        client.chat.completions.create(model="tiny", messages=HI)
    with openai.OpenAI(base_url=url, api_key=public.api_key, max_retries=0) as client:
        with pytest.raises(openai.NotFoundError, match="tiny:latest"):
            client.chat.completions.create(model="other", messages=HI)
        with pytest.raises(openai.NotFoundError):
            client.embeddings.create(model="other", input="a")
        with pytest.raises(openai.BadRequestError, match="same key twice"):
            client.chat.completions.create(
                model="tiny", messages=HI, extra_body={"Model": "other"}
            )
        with pytest.raises(openai.NotFoundError):
            client.files.list()


def test_anthropic_does_its_work(public: Avocado) -> None:
    """Messages, streams and tools; the key as either of its two headers."""
    url, key = public.url, public.api_key
    for api_key, token in ((key, None), (None, key)):
        with anthropic.Anthropic(
            base_url=url, timeout=WAIT_S, api_key=api_key, auth_token=token
        ) as client:
            whole = client.messages.create(
                model="tiny",
                max_tokens=64,
                messages=HI,
                tools=[{"name": "weather", "input_schema": SCHEMA}],
            )
            assert "avocado" in whole.content[0].model_dump()["text"]
            with client.messages.stream(
                model="tiny", max_tokens=64, messages=HI
            ) as stream:
                words = list(stream.text_stream)
            assert "avocado" in "".join(words)
            assert len(words) > 1, "it came in one piece"


def test_anthropic_raises_its_own_errors(public: Avocado) -> None:
    """Wrong key, unknown model and unknown path."""
    url = public.url
    with (
        anthropic.Anthropic(base_url=url, api_key="wrong", max_retries=0) as client,
        pytest.raises(anthropic.AuthenticationError, match="key is wrong"),
    ):
        client.messages.create(model="tiny", max_tokens=9, messages=HI)
    with anthropic.Anthropic(
        base_url=url, api_key=public.api_key, max_retries=0
    ) as client:
        with pytest.raises(anthropic.NotFoundError, match="tiny:latest"):
            client.messages.create(model="other", max_tokens=9, messages=HI)
        with pytest.raises(anthropic.NotFoundError):
            client.messages.count_tokens(model="tiny", messages=HI)


def test_ollama_does_its_work(native: ollama.Client) -> None:
    """Chat, generate, stream, embed, tools, listings."""
    whole = native.chat("tiny", HI, tools=[TOOL])
    assert "avocado" in (whole.message.content or "")
    words = [
        part.message.content or "" for part in native.chat("tiny", HI, stream=True)
    ]
    assert "avocado" in "".join(words)
    assert len(words) > 2, "it came in one piece"
    assert "avocado" in (native.generate("tiny", "Say avocado").response or "")
    assert len(native.embed("tiny", ["a", "b"]).embeddings) == 2
    assert [model.model for model in native.list().models] == ["tiny:latest"]
    assert native.show("tiny").details is not None


def test_ollama_raises_its_own_errors(public: Avocado, native: ollama.Client) -> None:
    """With status and message; what changes things does not exist."""
    wrong = ollama.Client(host=public.url, headers={"x-api-key": "wrong"})
    with pytest.raises(ollama.ResponseError, match="key is wrong") as caught:
        wrong.list()
    wrong._client.close()
    assert caught.value.status_code == 401
    with pytest.raises(ollama.ResponseError, match="tiny:latest") as caught:
        native.chat("other", HI)
    assert caught.value.status_code == 404
    for change in (native.pull, native.delete, native.push):
        with pytest.raises(ollama.ResponseError, match="does not exist here"):
            change("tiny")


@pytest.mark.parametrize("client", ["openai", "anthropic", "ollama"])
def test_a_client_that_leaves_a_stream_frees_the_engine(
    public: Avocado, native: ollama.Client, client: str
) -> None:
    """It has one place, so the next answer comes only once that one is free."""
    url, key = public.url, public.api_key
    if client == "openai":
        with openai.OpenAI(base_url=f"{url}/v1", api_key=key) as sdk:
            stream = sdk.chat.completions.create(
                model="tiny", messages=LONG, stream=True
            )
            next(iter(stream))
            stream.close()
    elif client == "anthropic":
        with (
            anthropic.Anthropic(base_url=url, api_key=key) as two,
            two.messages.stream(
                model="tiny", max_tokens=10**6, messages=LONG
            ) as message,
        ):
            next(message.text_stream)
    else:
        parts = native.chat("tiny", LONG, stream=True)
        next(iter(parts))
        parts.close()  # type: ignore[attr-defined]  # it is a generator
    answer = httpx.post(
        f"{url}/api/chat",
        headers={"x-api-key": key},
        json={"model": "tiny", "messages": HI, "stream": False},
        timeout=WAIT_S,
    )
    assert "avocado" in answer.text, f"the engine was not free: {answer.text}"


@pytest.fixture(scope="module")
def litellm() -> Any:
    """The client of many APIs, which has a lot to warn of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("litellm")
    module.telemetry = False
    return module


OPENAI_MODEL: Final = "openai/tiny"


@pytest.mark.filterwarnings("ignore")
def test_litellm_does_its_work(public: Avocado, litellm: Any) -> None:
    """Through the OpenAI API and through Ollama's."""
    for model, base in (
        (OPENAI_MODEL, f"{public.url}/v1"),
        ("ollama_chat/tiny", public.url),
    ):
        how = {
            "model": model,
            "api_base": base,
            "api_key": public.api_key,
            "timeout": WAIT_S,
        }
        whole = litellm.completion(messages=HI, **how)
        assert "avocado" in whole.choices[0].message.content, model
        stream = litellm.completion(messages=HI, stream=True, **how)
        words = [chunk.choices[0].delta.content or "" for chunk in stream]
        assert "avocado" in "".join(words), model
        assert len([word for word in words if word]) > 1, f"{model} came in one piece"
    vectors = litellm.embedding(
        model=OPENAI_MODEL,
        input=["a", "b"],
        api_base=f"{public.url}/v1",
        api_key=public.api_key,
    )
    assert len(vectors.data) == 2


@pytest.mark.filterwarnings("ignore")
def test_litellm_raises_its_own_errors(public: Avocado, litellm: Any) -> None:
    """A wrong key and an unknown model raise different errors."""
    for model, key, expected in (
        (OPENAI_MODEL, "wrong", litellm.AuthenticationError),
        ("openai/other", public.api_key, litellm.NotFoundError),
    ):
        with pytest.raises(expected):
            litellm.completion(
                model=model,
                messages=HI,
                api_base=f"{public.url}/v1",
                api_key=key,
                num_retries=0,
                max_retries=0,
            )
