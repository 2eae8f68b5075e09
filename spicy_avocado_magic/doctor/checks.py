"""The table of checks, in the order in which they are shown."""

from __future__ import annotations

from functools import partial
from typing import Final

from ..config.tunnel import TUNNEL
from ..system.network import INTERNET
from . import folders, machine, network, ports_and_processes, programs, service, token
from .runner import Check

_remote = partial(Check, is_remote=True, timeout_remedy=INTERNET)

CHECKS: Final = (
    Check("platform", machine.check_platform),
    Check("packages", machine.check_packages),
    Check("sharing", machine.check_sharing),
    Check("state", folders.check_state_folder),
    Check("home", folders.check_home),
    Check("engine disk", folders.check_engines_disk),
    Check("model disk", folders.check_models_disk),
    Check("memory", machine.check_memory),
    Check("gpu", programs.check_gpu),
    Check("engine", programs.check_engine),
    Check("agent", programs.check_agent, needs_tunnel=True),
    Check("token", token.check_token_shape, needs_tunnel=True),
    Check("proxy", machine.check_proxy),
    _remote("registry", network.check_registry),
    _remote("releases", network.check_releases),
    _remote("agent host", network.check_agent_download, needs_tunnel=True),
    _remote(TUNNEL.name, network.check_edge, needs_tunnel=True),
    Check("clock", network.check_clock, is_remote=True),
    Check("ports", ports_and_processes.check_ports),
    Check("remains", ports_and_processes.check_leftovers),
    Check("service", service.check_service),
)
