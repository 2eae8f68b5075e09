"""What does not need each other comes at the same time, and none waits for another."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from spicy_avocado_magic.client.up import REHEARSAL_TOKEN
from spicy_avocado_magic.config.settings import Endpoints
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.protocol.state import Phase, State

from .counting_world import CountingWorld
from .home import Home

POLICY = replace(Timeouts(), stalled_s=30.0)
"""What waits for what never comes is ended as that, long before the test is."""


def test_archive_model_and_tunnel_come_at_the_same_time(
    home: Home, world: Endpoints, counting: CountingWorld
) -> None:
    """The URL is proved while both downloads are under way."""
    sources = replace(
        world,
        releases_url=counting.sources.releases_url,
        registry=counting.sources.registry,
    )
    seen: list[tuple[Phase, Phase]] = []

    def look(state: State) -> None:
        if state.stage("probe").phase is Phase.READY and counting.is_held.is_set():
            seen.append((state.stage("install").phase, state.stage("pull").phase))
            counting.release()

    avocado = home.up(
        "tiny", sources=sources, policy=POLICY, token=REHEARSAL_TOKEN, show=look
    )
    assert avocado.outcome == "launched"
    assert seen[0] == (Phase.STARTING, Phase.STARTING), "the tunnel waited for bytes"


def test_the_first_model_is_loaded_while_the_tunnel_comes_up(
    home: Home, world: Endpoints, tmp_path: Path
) -> None:
    """An agent that takes its time holds up nothing but the URL."""
    go, agent = tmp_path / "go", tmp_path / "slow-ngrok"
    agent.write_text(
        "#!/bin/sh\n"
        f"[ $1 = --version ] || until [ -e {shlex.quote(str(go))} ]; "
        f'do sleep 0.02; done\nexec {shlex.quote(world.tunnel_program)} "$@"\n'
    )
    agent.chmod(0o700)
    seen: list[Phase] = []

    def look(state: State) -> None:
        if state.stage("warm").phase is Phase.READY:
            seen.append(state.stage("tunnel").phase)
            go.touch()

    sources = replace(world, tunnel_program=str(agent))
    avocado = home.up(
        "tiny", sources=sources, policy=POLICY, token=REHEARSAL_TOKEN, show=look
    )
    assert avocado.outcome == "launched"
    assert seen[0] is Phase.STARTING, "the model waited for the tunnel"
