"""The stand-in has Ollama's rules at the door, which a proxy must handle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ..conftest import Serve, call

FOREIGN = "https://evil.example"
RULES = [
    ("GET", "/api/version", {"Host": "spicy.ngrok.app"}, 403),
    ("GET", "/api/version", {"Host": "localhost:1"}, 200),
    ("GET", "/api/version", {"Host": "box.local"}, 200),
    ("GET", "/api/version", {"Host": "10.0.0.7"}, 200),
    ("GET", "/api/version", {"Host": "8.8.8.8"}, 403),
    ("GET", "/api/version", {"Origin": FOREIGN}, 403),
    ("GET", "/api/version", {"Origin": "http://localhost:8888"}, 200),
    ("OPTIONS", "/api/chat", {"Origin": "vscode-webview://x"}, 204),
    ("OPTIONS", "/api/chat", {"Origin": FOREIGN}, 403),
    ("PUT", "/api/chat", {}, 405),
    ("GET", "/api/nope", {}, 404),
]
"""Method, path, headers, and the status that a real 0.34.1 answers with."""

BODIES = [
    ("/api/chat", "", 400, "missing request body"),
    ("/api/chat", "{", 400, "unexpected EOF"),
    ("/api/chat", "{}", 400, "model is required"),
    ("/api/generate", "{}", 404, "model '' not found"),
    ("/api/show", '{"model":"nope"}', 404, "model 'nope:latest' not found"),
    ("/api/embed", '{"model":"nope","input":"x"}', 404, "try pulling it first"),
    ("/api/copy", '{"source":"nope","destination":"b"}', 404, "not found"),
    ("/api/copy", "{}", 400, 'source "" is invalid'),
    ("/api/pull", '{"model":"a b"}', 400, "invalid model name"),
    ("/v1/chat/completions", "", 400, "EOF"),
    ("/v1/chat/completions", "{}", 400, "[] is too short - 'messages'"),
    ("/v1/completions", '{"model":"nope"}', 404, "model 'nope' not found"),
    ("/v1/embeddings", "{}", 400, "invalid input"),
]
"""Path, body, status, and what a real 0.34.1 says."""


@pytest.mark.parametrize(("method", "path", "headers", "status"), RULES)
async def test_foreign_hosts_and_origins_are_refused(
    engine: str, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    """A foreign Host or Origin gets a bare 403; what is local is served."""
    response = await call(f"{engine}{path}", method=method, headers=headers)
    assert response.status == status
    if status == 403:
        assert not response.content, "Ollama's 403 has no body"
    if "Origin" in headers and status != 403:
        allowed = response.headers["Access-Control-Allow-Origin"]
        assert allowed == headers["Origin"], "a browser could not read this"


@pytest.mark.parametrize(("path", "body", "status", "message"), BODIES)
async def test_bad_requests_are_refused_in_ollamas_words(
    engine: str, path: str, body: str, status: int, message: str
) -> None:
    """Status and message are the real server's."""
    response = await call(f"{engine}{path}", data=body)
    assert response.status == status
    error = json.loads(response.content)["error"]
    assert message in (error if path.startswith("/api/") else error["message"])


async def test_a_real_engine_has_these_very_rules(
    real_ollama: Path, serve: Serve
) -> None:
    """The tables above are true of a real server, so they may be relied on."""
    async with serve(real_ollama) as served:
        for method, path, headers, status in RULES:
            response = await call(served.url + path, method=method, headers=headers)
            assert response.status == status, f"{method} {path} {headers}: {response}"
        for path, body, status, message in BODIES:
            response = await call(served.url + path, data=body)
            assert response.status == status, f"{path} {body}: {response}"
            if not served.is_older:
                error = json.loads(response.content)["error"]
                words = error if path.startswith("/api/") else error["message"]
                assert message in words, f"{path} {body}: {words}"


async def test_keys_match_without_case_and_the_last_one_wins(tiny: str) -> None:
    """A proxy that checks ``model`` alone would be fooled, as by the real one."""
    body = '{"model":"nope","MODEL":"tiny","Prompt":"hi","stream":false}'
    response = await call(f"{tiny}/api/generate", data=body)
    assert json.loads(response.content)["response"] == "You said: hi"
