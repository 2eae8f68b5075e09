"""The table of checks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from spicy_avocado_magic.config.settings import Endpoints, Settings
from spicy_avocado_magic.doctor.checks import CHECKS
from spicy_avocado_magic.doctor.runner import run_checks
from spicy_avocado_magic.protocol.finding import CheckStatus

from .conftest import New


def test_each_check_has_the_name_in_the_table_and_a_remedy(
    new_context: New, program: Callable[[str, str], Path]
) -> None:
    """On a machine with many problems and no network."""
    program("nvidia-smi", "exit 9")
    program("ollama", "exit 1")
    program("ngrok", "exit 1")
    sources = Endpoints(
        releases_url="http://127.0.0.1:1",
        registry="127.0.0.1:1",
        edge_address="127.0.0.1:1",
        tunnel_program="/nowhere/ngrok",
    )
    # The download host of the agent is the only one that no setting can replace.
    checks = [check for check in CHECKS if check.name != "agent host"]
    found = run_checks(new_context(settings=Settings(sources=sources)), checks)
    assert [finding.name for finding in found] == [check.name for check in checks]
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    for finding in found:
        assert finding.what, finding
        assert bool(finding.remedy) is (finding.verdict is not CheckStatus.OK), finding
        assert "This check failed" not in finding.what, finding
    verdicts = {finding.name: finding.verdict for finding in found}
    for name in ("token", "registry", "ngrok"):
        assert verdicts[name] is CheckStatus.BROKEN, verdicts
