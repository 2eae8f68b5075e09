"""The table of checks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from spicy_avocado_magic.config.settings import Endpoints, Settings
from spicy_avocado_magic.doctor.checks import CHECKS
from spicy_avocado_magic.doctor.runner import run_checks
from spicy_avocado_magic.protocol.finding import CheckStatus

from .conftest import New


def test_each_check_names_itself_as_the_table_does_and_has_a_remedy(
    new_case: New, program: Callable[[str, str], Path]
) -> None:
    """On a machine where much is wrong and nothing can be reached."""
    program("nvidia-smi", "exit 9")
    program("ollama", "exit 1")
    program("ngrok", "exit 1")
    sources = Endpoints(
        releases_url="http://127.0.0.1:1",
        registry="127.0.0.1:1",
        edge_address="127.0.0.1:1",
        tunnel_program="/nowhere/ngrok",
    )
    # The agent's own download is the one host that no setting points elsewhere.
    checks = [check for check in CHECKS if check.name != "agent host"]
    found = run_checks(new_case(settings=Settings(sources=sources)), checks)
    assert [one.name for one in found] == [check.name for check in checks]
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    for one in found:
        assert one.what, one
        assert bool(one.remedy) is (one.verdict is not CheckStatus.OK), one
        assert "This check failed" not in one.what, one
    verdicts = {one.name: one.verdict for one in found}
    for name in ("token", "registry", "ngrok"):
        assert verdicts[name] is CheckStatus.BROKEN, verdicts
