"""The clients of OpenAI and Anthropic understand every reply."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest

ASK: Any = [{"role": "user", "content": [{"type": "text", "text": "hi you"}]}]


@pytest.fixture
async def gpt(tiny: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's client."""
    async with openai.AsyncOpenAI(
        base_url=f"{tiny}/v1", api_key="any", max_retries=0
    ) as client:
        yield client


@pytest.fixture
async def claude(tiny: str) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """Anthropic's client."""
    async with anthropic.AsyncAnthropic(
        base_url=tiny, api_key="any", max_retries=0
    ) as client:
        yield client


async def test_openai_chat_whole_and_streamed(gpt: openai.AsyncOpenAI) -> None:
    """The same words; usage in a stream only where it is asked for."""
    whole = await gpt.chat.completions.create(model="tiny", messages=ASK)
    assert whole.choices[0].message.content == "You said: hi you"
    assert whole.usage is not None
    for options, usages in ((None, 0), ({"include_usage": True}, 1)):
        more: Any = {} if options is None else {"stream_options": options}
        stream = await gpt.chat.completions.create(
            model="tiny", messages=ASK, stream=True, **more
        )
        chunks = [chunk async for chunk in stream]
        text = [c.choices[0].delta.content for c in chunks if c.choices]
        assert "".join(filter(None, text)) == "You said: hi you"
        assert sum(chunk.usage is not None for chunk in chunks) == usages


async def test_openai_completion(gpt: openai.AsyncOpenAI) -> None:
    """The older endpoint, cut by its limit."""
    response = await gpt.completions.create(model="tiny", prompt="hi", max_tokens=2)
    assert response.choices[0].text == "You said:"
    assert response.choices[0].finish_reason == "length"
    stream = await gpt.completions.create(model="tiny", prompt="hi", stream=True)
    texts = [chunk.choices[0].text async for chunk in stream]
    assert "".join(texts) == "You said: hi"


async def test_openai_response_whole_and_streamed(gpt: openai.AsyncOpenAI) -> None:
    """The client's accumulator finds a complete set of events."""
    whole = await gpt.responses.create(model="tiny", input="hi you")
    assert whole.output_text == "You said: hi you"
    async with gpt.responses.stream(model="tiny", input=ASK) as opened:
        stream: Any = opened
        deltas = [e.delta async for e in stream if e.type.endswith("text.delta")]
        final = await stream.get_final_response()
    assert "".join(deltas) == final.output_text == "You said: hi you"


async def test_openai_embeddings_packed_and_plain(gpt: openai.AsyncOpenAI) -> None:
    """Base64, which the client asks for by itself, has the same numbers."""
    packed = await gpt.embeddings.create(model="tiny", input=["a", "b"])
    document = await gpt.embeddings.create(
        model="tiny", input="a", encoding_format="float"
    )
    assert len(packed.data) == 2
    assert packed.data[0].embedding == pytest.approx(
        document.data[0].embedding, abs=1e-6
    )


async def test_anthropic_whole_and_streamed(claude: anthropic.AsyncAnthropic) -> None:
    """The client's accumulator finds a complete set of events."""
    whole = await claude.messages.create(model="tiny", messages=ASK, max_tokens=2)
    assert whole.stop_reason == "max_tokens"
    async with claude.messages.stream(
        model="tiny", messages=ASK, max_tokens=50
    ) as stream:
        texts = [text async for text in stream.text_stream]
        final = await stream.get_final_message()
    assert texts == ["You", " said:", " hi", " you"]
    assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", 4)


async def test_an_unknown_model_is_not_found_in_every_dialect(
    gpt: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic
) -> None:
    """Each client raises its own NotFoundError."""
    with pytest.raises(openai.NotFoundError, match="model 'nope' not found"):
        await gpt.chat.completions.create(model="nope", messages=ASK)
    with pytest.raises(anthropic.NotFoundError, match="model 'nope' not found"):
        await claude.messages.create(model="nope", messages=ASK, max_tokens=5)
