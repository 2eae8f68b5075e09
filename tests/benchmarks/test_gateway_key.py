"""The check that a peer requires the key before its speed counts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .gateway_cases import end_module, start_module
from .gateway_key import check_key, engine_counts
from .gateway_peers import Caddy, Direct, Engine, OurGateway

KEY = "sk-0123456789abcdef"


@pytest.fixture
def engine() -> Iterator[Engine]:
    """A running engine stand-in."""
    process = start_module("fast_engine")
    assert process.stdout is not None
    yield Engine(int(process.stdout.readline()), process.pid)
    end_module(process)


def test_an_open_proxy_is_not_measured(engine: Engine, tmp_path: Path) -> None:
    """A proxy without a key check would be compared as if it had one."""
    peer = Direct(tmp_path, engine, KEY)
    peer.start()
    with pytest.raises(PermissionError, match="a request without a key was answered"):
        check_key(peer.port, KEY, engine.port)


@pytest.mark.parametrize("kind", [OurGateway, Caddy])
def test_our_gateway_and_caddy_refuse_every_other_key(
    kind: type[OurGateway | Caddy], engine: Engine, tmp_path: Path
) -> None:
    """Only the right key reaches the engine; another one is an error."""
    peer = kind(tmp_path, engine, KEY)
    if kind is Caddy and not shutil.which("caddy"):
        pytest.skip(f"no caddy here: {peer.how_to_install}")
    peer.start()
    try:
        check_key(peer.port, KEY, engine.port)
        reached = engine_counts(engine.port)[1]
        with pytest.raises(PermissionError, match="the right key is refused"):
            check_key(peer.port, "sk-another-0123456789", engine.port)
        assert engine_counts(engine.port)[1] == reached, "a wrong key got through"
    finally:
        peer.stop()
    log = (peer.folder / "access.log").read_text()
    assert log.count("\n") >= 8, "a request is missing in the access log"
    assert KEY not in log, "the key is in the access log"
