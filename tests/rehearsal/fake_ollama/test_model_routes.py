"""Models are listed, shown, pulled, copied and deleted as in Ollama."""

from __future__ import annotations

import json
from pathlib import Path

import ollama
import openai

from ..conftest import call


async def test_the_stock_client_sees_a_pulled_model(client: ollama.AsyncClient) -> None:
    """``ollama-python`` parses list, show and ps."""
    names = {model.model for model in (await client.list()).models}
    assert "tiny:latest" in names
    shown = await client.show("tiny")
    assert shown.details is not None
    assert shown.details.family == "llama"
    assert not (await client.ps()).models, "nothing was loaded yet"
    await client.generate("tiny", keep_alive=-1)
    (loaded,) = (await client.ps()).models
    assert (loaded.name, loaded.size_vram) == ("tiny:latest", 0)


async def test_copy_and_delete_change_the_list(
    client: ollama.AsyncClient, models: Path
) -> None:
    """When the last name is gone, its blobs are gone."""
    await client.copy("tiny", "other:v2")
    for model in (await client.list()).models:
        assert model.model is not None
        await client.delete(model.model)
    assert not (await client.list()).models
    assert not list((models / "blobs").iterdir()), "blobs were left behind"


async def test_an_error_after_the_first_line_is_in_the_stream(
    engine: str, registry: str
) -> None:
    """The status is 200 all the same, as in Ollama."""
    asked = {"model": f"{registry}/library/missing", "insecure": True}
    response = await call(f"{engine}/api/pull", json=asked)
    assert response.status == 200
    last = json.loads(response.content.splitlines()[-1])
    assert last == {"error": "pull model manifest: file does not exist"}


async def test_without_a_stream_an_error_is_500(engine: str, registry: str) -> None:
    """And success is one object."""
    name = f"{registry}/library"
    failed = {"model": f"{name}/missing", "insecure": True, "stream": False}
    response = await call(f"{engine}/api/pull", json=failed)
    assert (response.status, b"file does not exist" in response.content) == (500, True)
    response = await call(f"{engine}/api/pull", json=failed | {"model": f"{name}/tiny"})
    assert json.loads(response.content) == {"status": "success"}


async def test_openais_list_is_null_when_it_is_empty(engine: str) -> None:
    """A client or proxy that expects an array meets this on a real server too."""
    response = json.loads((await call(f"{engine}/v1/models")).content)
    assert response == {"object": "list", "data": None}


async def test_openais_client_lists_and_finds_models(tiny: str) -> None:
    """Names are spelled out with their tags."""
    async with openai.AsyncOpenAI(base_url=f"{tiny}/v1", api_key="any") as client:
        ids = [model.id async for model in client.models.list()]
        assert "tiny:latest" in ids
        assert (await client.models.retrieve("tiny")).owned_by == "library"
