"""The gateway before a real Ollama: stock clients chat, nobody breaks anything."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import anthropic
import ollama
import openai
import pytest

from tests.machine_speed import scaled

from .conftest import KEY, OWNER, WITH_KEY, Front
from .real_gateway import FEW, done, real_gateway

__all__ = ["real_gateway"]

ASK: Any = [{"role": "user", "content": "hi"}]


async def test_stock_clients_chat_with_a_real_engine(
    real: Front, real_ollama: Path
) -> None:
    """Each client gets tokens, streamed and whole, with URL and key alone."""
    async with openai.AsyncOpenAI(base_url=f"{real.url}/v1", api_key=KEY) as client:
        stream = await client.chat.completions.create(
            model="tiny", messages=ASK, stream=True, max_tokens=4
        )
        assert len([chunk async for chunk in stream]) > 1, "openai: no stream"
        assert [model.id async for model in client.models.list()] == ["tiny:latest"]
        assert (await client.models.retrieve("tiny")).id == "tiny"
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="other", messages=ASK)
    native = ollama.AsyncClient(host=real.url, headers=WITH_KEY)
    parts = [
        part async for part in await native.chat("tiny", ASK, stream=True, options=FEW)
    ]
    assert parts[-1].done, "ollama: the stream has no end"
    assert [model.model for model in (await native.ps()).models] == ["tiny:latest"]
    await native._client.aclose()
    if real_ollama.parent.parent.name.startswith("0.11."):
        async with anthropic.AsyncAnthropic(
            base_url=real.url, api_key=KEY, max_retries=0
        ) as early:
            with pytest.raises(anthropic.NotFoundError, match="too old for /v1/me"):
                await early.messages.create(model="tiny", max_tokens=4, messages=ASK)
        return  # /v1/messages came with 0.14
    async with anthropic.AsyncAnthropic(base_url=real.url, api_key=KEY) as client2:
        message = await client2.messages.create(
            model="tiny", max_tokens=4, messages=ASK
        )
        assert message.usage.output_tokens > 0, "anthropic: no answer"


async def test_the_ollama_program_works_with_the_key_in_its_path(
    real: Front, real_ollama: Path, tmp_path: Path
) -> None:
    """``OLLAMA_HOST=URL/KEY ollama …`` lists, shows and runs."""
    environ = {"HOME": str(tmp_path), "OLLAMA_HOST": f"{real.url}/{KEY}"}
    for arguments, expected in (
        (("list",), b"tiny:latest"),
        (("show", "tiny"), b"llama"),
        (("run", "tiny", "hi"), b""),
    ):
        process = await asyncio.create_subprocess_exec(
            real_ollama,
            *arguments,
            env=environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(scaled(60)):
            out, err = await process.communicate()
        assert process.returncode == 0, f"{arguments}: {err!r}"
        assert expected in out, f"{arguments}: {out!r}"
        assert b"other" not in out, "a model that is not served was listed"


async def test_no_caller_changes_a_real_engine(real: Front) -> None:
    """With the key, but without management: nothing is unloaded, deleted or copied."""
    asked = {"model": "tiny", "prompt": "hi", "stream": False, "options": FEW}
    await done(real, "POST", "/api/generate", json=asked)
    before = json.loads(await done(real, "GET", "/api/ps"))["models"]
    unload = {**asked, "keep_alive": 0, "options": {**FEW, "num_ctx": 64, "num_gpu": 0}}
    await done(real, "POST", "/api/generate", json=unload)
    for method, path, body in (
        ("DELETE", "/api/delete", {"model": "tiny"}),
        ("POST", "/api/copy", {"source": "tiny", "destination": "mine"}),
        ("POST", "/api/generate", {"model": "tiny", "MODEL": "other"}),
        ("POST", "/api/generate", {"model": "other"}),
        ("POST", "/api/me", {}),
    ):
        status, _, _ = await real.call(method, path, json=body, headers=WITH_KEY)
        assert status in {400, 404}, f"{path} was answered with {status}"
    after = json.loads(await done(real, "GET", "/api/ps"))["models"]
    moving = {"expires_at": None}
    assert [m | moving for m in after] == [m | moving for m in before], "reloaded"
    real.gateway.access = replace(OWNER, models=("tiny", "other"))
    listed = json.loads(await done(real, "GET", "/api/tags"))["models"]
    assert {m["name"] for m in listed} == {"tiny:latest", "other:latest"}


@pytest.mark.parametrize("stream", [False, True])
async def test_tokens_of_a_real_engine_are_what_it_says_itself(
    real: Front, stream: bool
) -> None:
    """Each call's own counts, summed, are those of the owner's key."""
    asked = {"model": "tiny", "messages": ASK, "stream": stream}
    native_reply = await done(real, "POST", "/api/chat", json=asked | {"options": FEW})
    options = {"stream_options": {"include_usage": True}} if stream else {}
    openai_reply = await done(
        real, "POST", "/v1/chat/completions", json=asked | {"max_tokens": 4} | options
    )
    last = json.loads(native_reply.splitlines()[-1])
    events = [e for e in openai_reply.replace(b"data: ", b"").split(b"\n") if e]
    usage = json.loads(events[-2 if stream else -1])["usage"]
    use = real.gateway.metrics.keys["owner"]
    assert use.tokens_in == last["prompt_eval_count"] + usage["prompt_tokens"]
    assert use.tokens_out == last["eval_count"] + usage["completion_tokens"] == 8
    assert not use.is_estimate, "the engine's counts pass for estimates"
