"""Checks of the hosts that the service needs, and of the clock.

Names come from ``Endpoints``, so that a rehearsal asks its own loopback world.
"""

from __future__ import annotations

import platform
import shutil
import time
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from ..config.model_name import ModelName
from ..config.tunnel import TUNNEL
from ..config.validators import OLLAMA_VERSION
from ..errors import AvocadoError
from ..formatting import format_duration
from ..protocol.finding import CheckStatus, Finding, broken, ok, unknown, warning
from .context import DoctorContext
from .machine import proxies
from .reachability import ProbeResult, probe_port, probe_url

_ANY_MODEL: Final = "llama3"
_SKEW_TOLD_S: Final = 60.0
_SKEW_BREAKS_S: Final = 86400.0
"""Certificates are often younger or older than this by a few hours only."""


def check_registry(case: DoctorContext) -> Finding:
    """Tell whether the models' registry answers, asked for the first wanted model."""
    model = next(iter(case.settings.models), _ANY_MODEL)
    name = ModelName.parse(model)
    if case.settings.sources.registry and "/" not in model:
        name = ModelName(
            host=case.settings.sources.registry, model=name.model, tag=name.tag
        )
    url = f"{name.registry_url}/manifests/{name.tag}"
    return _told("registry", probe_url(url, case.policy.diagnosis_host_s))


def check_releases(case: DoctorContext) -> Finding:
    """Tell whether releases of the engine can be had, where one may be needed."""
    from ..engine.install.release import archive_for

    wanted = case.settings.ollama_version
    number = OLLAMA_VERSION if wanted in ("", "latest") else wanted
    url = case.settings.sources.releases_url
    try:
        archive = archive_for(number, url, platform.system(), platform.machine())
    except AvocadoError as error:
        return broken("releases", error.problem, error.remedy)
    found = probe_url(archive.checksums_url, case.policy.diagnosis_host_s)
    told = _told("releases", found)
    if told.verdict is CheckStatus.BROKEN and shutil.which("ollama") and not wanted:
        what = f"{told.what} The ollama on PATH is used instead."
        return warning("releases", what, told.remedy)
    return told


def check_agent_download(case: DoctorContext) -> Finding:
    """Tell whether the agent can be fetched, where it is not here already."""
    if case.settings.local:
        return ok("agent host", "Not needed: --local opens no tunnel.")
    path = case.provider.program_path(case.settings.sources.tunnel_program)
    if path is None or path.exists():
        return ok("agent host", "Not needed: the agent is here.")
    url = case.provider.download_url()
    return _told("agent host", probe_url(url, case.policy.diagnosis_host_s))


def check_edge(case: DoctorContext) -> Finding:
    """Check whether an agent can connect to the provider's edge."""
    if case.settings.local:
        return ok(TUNNEL.name, "Not needed: --local opens no tunnel.")
    address = case.settings.sources.edge_address or TUNNEL.edge_address
    found = probe_port(address, case.policy.diagnosis_host_s)
    if found.problem and proxies():
        what = f"{found.problem} The agent may get there by the proxy."
        remedy = "If the tunnel does not open, ask for port 443 without the proxy."
        return warning(TUNNEL.name, what, remedy)
    return _told(TUNNEL.name, found)


def check_clock(case: DoctorContext) -> Finding:
    """Compare the clock with that of a host; asked without TLS, which needs a clock."""
    url = urlsplit(case.settings.sources.releases_url)
    plain = urlunsplit(("http", url.netloc, "/", "", ""))
    for asked in dict.fromkeys((plain, url.geturl())):
        began = time.time()
        found = probe_url(asked, case.policy.diagnosis_host_s / 2, follow=False)
        now = (began + time.time()) / 2
        if found.date:
            return judge_clock(found, now)
    return unknown(
        "clock",
        "No host out there told the time.",
        "Mend what is said about the hosts, then run %avocado_doctor again.",
    )


def judge_clock(found: ProbeResult, now: float) -> Finding:
    """Return what a host's time says about ours, ``now`` in seconds since 1970."""
    try:
        ahead_s = now - parsedate_to_datetime(found.date).timestamp()
    except ValueError:
        what = f"{found.host} tells a time that cannot be read."
        return unknown("clock", what, "Compare the clock with another one by eye.")
    if abs(ahead_s) <= _SKEW_TOLD_S:
        return ok("clock", f"Right within a minute, by {found.host}.")
    way = "ahead of" if ahead_s > 0 else "behind"
    what = f"It is {format_duration(abs(ahead_s))} {way} that of {found.host}"
    remedy = "Set the clock, or restart the machine or runtime."
    if abs(ahead_s) > _SKEW_BREAKS_S:
        return broken("clock", f"{what}: certificates are refused.", remedy)
    return warning("clock", f"{what}; certificates may be refused.", remedy)


def _told(name: str, found: ProbeResult) -> Finding:
    if found.problem:
        return broken(name, found.problem, found.remedy)
    return ok(name, f"{found.host} answers.")
