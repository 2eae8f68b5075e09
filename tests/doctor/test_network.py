"""The hosts that are needed, on loopback, and the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

import pytest

from spicy_avocado_magic.config.settings import Endpoints, Settings
from spicy_avocado_magic.doctor.network import (
    check_agent_download,
    check_clock,
    check_edge,
    check_registry,
    check_releases,
    judge_clock,
)
from spicy_avocado_magic.doctor.reachability import ProbeResult
from spicy_avocado_magic.protocol.finding import CheckStatus

from .conftest import New
from .small_host import SmallHost


def of(address: str, **parts: object) -> Settings:
    """Return settings whose sources are all at one address."""
    sources = Endpoints(
        releases_url=f"http://{address}/releases",
        registry=address,
        edge_address=address,
    )
    return Settings(sources=sources, **parts)  # type: ignore[arg-type]


def test_the_registry_is_asked_for_the_wanted_model(new_case: New) -> None:
    """By the name of its manifest, which is what a pull asks first."""
    host = SmallHost()
    with host.running() as address:
        found = check_registry(new_case(settings=of(address, models=("qwen3:8b",))))
        assert found.verdict is CheckStatus.OK, found
        check_registry(new_case(settings=of(address)))
        name = f"{address}/mine/other:1"
        check_registry(new_case(settings=of("127.0.0.1:1", models=(name,))))
    assert host.asked == [
        "GET /v2/library/qwen3/manifests/8b",
        "GET /v2/library/llama3/manifests/latest",
        "GET /v2/mine/other/manifests/1",
    ]


def test_the_release_host_is_asked_for_what_an_install_asks_first(
    new_case: New,
) -> None:
    """The list of digests, of the version that is wanted."""
    host = SmallHost()
    with host.running() as address:
        found = check_releases(new_case(settings=of(address, ollama_version="0.12.3")))
        assert found.verdict is CheckStatus.OK, found
    assert host.asked == ["GET /releases/download/v0.12.3/sha256sum.txt"]


def test_a_release_host_out_of_reach_is_worse_without_an_engine(
    new_case: New, program: Callable[[str, str], Path]
) -> None:
    """With one on PATH it is not needed, unless a version is asked for."""
    case = new_case(settings=of("127.0.0.1:1"))
    assert check_releases(case).verdict is CheckStatus.BROKEN
    program("ollama", "exit 1")
    assert check_releases(case).verdict is CheckStatus.WARNING
    case = new_case(settings=of("127.0.0.1:1", ollama_version="0.12.3"))
    assert check_releases(case).verdict is CheckStatus.BROKEN


def test_the_edge_must_take_a_connection(
    new_case: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a proxy is set, the agent may get there all the same."""
    with SmallHost().running() as address:
        case = new_case(settings=of(address))
        assert check_edge(case).verdict is CheckStatus.OK
    assert check_edge(case).verdict is CheckStatus.BROKEN
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert check_edge(case).verdict is CheckStatus.WARNING


def test_without_a_tunnel_nothing_of_it_is_asked(new_case: New) -> None:
    """``--local`` needs neither edge nor agent."""
    case = new_case(settings=of("127.0.0.1:1", local=True))
    for check in (check_edge, check_agent_download):
        found = check(case)
        assert found.verdict is CheckStatus.OK, found
        assert "--local" in found.what


def test_the_agents_host_is_asked_only_where_it_is_missing(
    new_case: New, monkeypatch: pytest.MonkeyPatch, program: Callable[[str, str], Path]
) -> None:
    """At the address from which pyngrok fetches it."""
    from pyngrok import installer

    host = SmallHost()
    with host.running() as address:
        monkeypatch.setattr(
            installer, "get_ngrok_cdn_url", lambda _: f"http://{address}/ngrok.tgz"
        )
        monkeypatch.setenv("PYNGROK_NGROK_PATH", "/nowhere/ngrok")
        assert check_agent_download(new_case()).verdict is CheckStatus.OK
        assert host.asked == ["GET /ngrok.tgz"]
        agent = program("ngrok", "exit 0")
        monkeypatch.setenv("PYNGROK_NGROK_PATH", str(agent))
        assert "is here" in check_agent_download(new_case()).what
        assert len(host.asked) == 1, "asked although the agent is here"


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
    new_case: New, behind_s: int, verdict: CheckStatus, word: str
) -> None:
    """More than a minute is told; a day and more breaks certificates."""
    date = formatdate(time.time() + behind_s, usegmt=True)
    with SmallHost(404, {"Date": date}).running() as address:
        found = check_clock(new_case(settings=of(address)))
    assert found.verdict is verdict, found
    assert word in found.what


def test_a_clock_that_nobody_can_tell_is_unknown(new_case: New) -> None:
    """No host, no ``Date``, or one that makes no sense."""
    case = new_case(settings=of("127.0.0.1:1"))
    assert check_clock(case).verdict is CheckStatus.UNKNOWN
    with SmallHost().running() as address:
        case = new_case(settings=of(address))
        assert check_clock(case).verdict is CheckStatus.UNKNOWN
    odd = ProbeResult(host="host.example", date="yesterday")
    assert judge_clock(odd, 0.0).verdict is CheckStatus.UNKNOWN
