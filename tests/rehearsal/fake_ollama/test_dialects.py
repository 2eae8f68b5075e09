"""Ollama's own client understands every reply."""

from __future__ import annotations

import ollama
import pytest


async def test_chat_is_streamed_word_by_word(client: ollama.AsyncClient) -> None:
    """The last line carries the figures."""
    messages = [{"role": "user", "content": "hi you"}]
    parts = [p async for p in await client.chat("tiny", messages, stream=True)]
    texts = [part.message.content for part in parts]
    assert texts == ["You", " said:", " hi", " you", ""]
    assert (parts[-1].done, parts[-1].eval_count) == (True, 4)


async def test_generate_answers_whole(client: ollama.AsyncClient) -> None:
    """With ``stream: false`` there is one object."""
    reply = await client.generate("tiny", "hi", stream=False)
    assert (reply.response, reply.done_reason) == ("You said: hi", "stop")


async def test_num_predict_limits_a_reply(client: ollama.AsyncClient) -> None:
    """The reason is ``length``."""
    reply = await client.generate("tiny", "hi", options={"num_predict": 1})
    assert (reply.response, reply.done_reason) == ("You", "length")


async def test_an_empty_prompt_loads_and_keep_alive_zero_unloads(
    client: ollama.AsyncClient,
) -> None:
    """The reasons are Ollama's."""
    assert (await client.generate("tiny")).done_reason == "load"
    assert len((await client.ps()).models) == 1
    assert (await client.generate("tiny", keep_alive=0)).done_reason == "unload"
    assert not (await client.ps()).models


async def test_embeddings_are_vectors(client: ollama.AsyncClient) -> None:
    """One for each text."""
    reply = await client.embed("tiny", ["a", "b"])
    assert [len(vector) for vector in reply.embeddings] == [64, 64]


async def test_an_unknown_model_is_a_404(client: ollama.AsyncClient) -> None:
    """The client raises its own error with Ollama's words."""
    with pytest.raises(ollama.ResponseError, match="model 'nope' not found") as caught:
        await client.generate("nope", "hi")
    assert caught.value.status_code == 404
