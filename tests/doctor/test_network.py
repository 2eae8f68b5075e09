"""Checks of the required hosts, on loopback, and of the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

import pytest

from spicy_avocado_magic.config.settings import Endpoints, Settings
from spicy_avocado_magic.doctor.network import (
    ProbeResult,
    check_agent_download,
    check_clock,
    check_edge,
    check_registry,
    check_releases,
    judge_clock,
)
from spicy_avocado_magic.protocol.finding import CheckStatus

from .conftest import New
from .small_host import SmallHost


def of(address: str, **parts: object) -> Settings:
    """Return settings with all endpoints at one address."""
    sources = Endpoints(
        releases_url=f"http://{address}/releases",
        registry=address,
        edge_address=address,
    )
    return Settings(sources=sources, **parts)  # type: ignore[arg-type]


def test_the_registry_is_asked_for_the_requested_model(new_context: New) -> None:
    """By the URL of its manifest, which a pull requests first."""
    host = SmallHost()
    with host.running() as address:
        found = check_registry(new_context(settings=of(address, models=("qwen3:8b",))))
        assert found.verdict is CheckStatus.OK, found
        check_registry(new_context(settings=of(address)))
        name = f"{address}/mine/other:1"
        check_registry(new_context(settings=of("127.0.0.1:1", models=(name,))))
    assert host.asked == [
        "GET /v2/library/qwen3/manifests/8b",
        "GET /v2/library/llama3/manifests/latest",
        "GET /v2/mine/other/manifests/1",
    ]


def test_the_release_host_is_asked_for_the_digests_of_the_requested_version(
    new_context: New,
) -> None:
    """An installation requests them first."""
    host = SmallHost()
    with host.running() as address:
        found = check_releases(
            new_context(settings=of(address, ollama_version="0.12.3"))
        )
        assert found.verdict is CheckStatus.OK, found
    assert host.asked == ["GET /releases/download/v0.12.3/sha256sum.txt"]


def test_an_unreachable_release_host_is_worse_without_an_engine(
    new_context: New, program: Callable[[str, str], Path]
) -> None:
    """With one on PATH it is not needed, unless a version was requested."""
    context = new_context(settings=of("127.0.0.1:1"))
    assert check_releases(context).verdict is CheckStatus.BROKEN
    program("ollama", "exit 1")
    assert check_releases(context).verdict is CheckStatus.WARNING
    context = new_context(settings=of("127.0.0.1:1", ollama_version="0.12.3"))
    assert check_releases(context).verdict is CheckStatus.BROKEN


def test_the_edge_must_accept_a_connection(
    new_context: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a proxy is set, the agent may connect all the same."""
    with SmallHost().running() as address:
        context = new_context(settings=of(address))
        assert check_edge(context).verdict is CheckStatus.OK
    assert check_edge(context).verdict is CheckStatus.BROKEN
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert check_edge(context).verdict is CheckStatus.WARNING


def test_the_agents_download_host_is_asked_only_if_the_agent_is_missing(
    new_context: New,
    monkeypatch: pytest.MonkeyPatch,
    program: Callable[[str, str], Path],
) -> None:
    """It is the address from which pyngrok downloads it."""
    from pyngrok import installer

    host = SmallHost()
    with host.running() as address:
        monkeypatch.setattr(
            installer, "get_ngrok_cdn_url", lambda _: f"http://{address}/ngrok.tgz"
        )
        monkeypatch.setenv("PYNGROK_NGROK_PATH", "/nowhere/ngrok")
        assert check_agent_download(new_context()).verdict is CheckStatus.OK
        assert host.asked == ["GET /ngrok.tgz"]
        agent = program("ngrok", "exit 0")
        monkeypatch.setenv("PYNGROK_NGROK_PATH", str(agent))
        assert "is installed" in check_agent_download(new_context()).what
        assert len(host.asked) == 1, "asked although the agent is installed"


@pytest.mark.parametrize(
    ("behind_s", "verdict", "word"),
    [
        (0, CheckStatus.OK, "minute"),
        (50, CheckStatus.OK, "minute"),
        (90, CheckStatus.WARNING, "behind"),
        (-90, CheckStatus.WARNING, "ahead of"),
        (3 * 86400, CheckStatus.BROKEN, "certificates are refused"),
    ],
)
def test_the_clock_is_compared_with_that_of_a_host(
    new_context: New, behind_s: int, verdict: CheckStatus, word: str
) -> None:
    """More than a minute is a warning; more than a day breaks certificates."""
    date = formatdate(time.time() + behind_s, usegmt=True)
    with SmallHost(404, {"Date": date}).running() as address:
        found = check_clock(new_context(settings=of(address)))
    assert found.verdict is verdict, found
    assert word in found.what


def test_a_clock_that_no_host_can_confirm_is_unknown(new_context: New) -> None:
    """There is no host, no ``Date``, or one that cannot be read."""
    context = new_context(settings=of("127.0.0.1:1"))
    assert check_clock(context).verdict is CheckStatus.UNKNOWN
    with SmallHost().running() as address:
        context = new_context(settings=of(address))
        assert check_clock(context).verdict is CheckStatus.UNKNOWN
    odd = ProbeResult(host="host.example", date="yesterday")
    assert judge_clock(odd, 0.0).verdict is CheckStatus.UNKNOWN
