"""All checks, in the order in which they are shown."""

from __future__ import annotations

from typing import Final

from ..config.tunnel import TUNNEL
from .folders import (
    check_engines_disk,
    check_home,
    check_models_disk,
    check_state_folder,
)
from .leftovers import check_leftovers, check_ports
from .machine import (
    check_memory,
    check_packages,
    check_platform,
    check_proxy,
    check_sharing,
)
from .network import (
    check_agent_download,
    check_clock,
    check_edge,
    check_registry,
    check_releases,
)
from .programs import check_agent, check_engine, check_gpu
from .reachability import INTERNET
from .runner import Check
from .service import check_service
from .token import check_token_shape

CHECKS: Final = (
    Check(name="platform", run=check_platform),
    Check(name="packages", run=check_packages),
    Check(name="sharing", run=check_sharing),
    Check(name="state", run=check_state_folder),
    Check(name="home", run=check_home),
    Check(name="engine disk", run=check_engines_disk),
    Check(name="model disk", run=check_models_disk),
    Check(name="memory", run=check_memory),
    Check(name="gpu", run=check_gpu),
    Check(name="engine", run=check_engine),
    Check(name="agent", run=check_agent),
    Check(name="token", run=check_token_shape),
    Check(name="proxy", run=check_proxy),
    Check(name="registry", run=check_registry, is_remote=True, timeout_remedy=INTERNET),
    Check(name="releases", run=check_releases, is_remote=True, timeout_remedy=INTERNET),
    Check(
        name="agent host",
        run=check_agent_download,
        is_remote=True,
        timeout_remedy=INTERNET,
    ),
    Check(name=TUNNEL.name, run=check_edge, is_remote=True, timeout_remedy=INTERNET),
    Check(name="clock", run=check_clock, is_remote=True),
    Check(name="ports", run=check_ports),
    Check(name="remains", run=check_leftovers),
    Check(name="service", run=check_service),
)
