"""The fixture ``real_ollama``: each real Ollama that this machine was given.

``AVOCADO_REAL_OLLAMA`` lists their executables (``tests.tools.real_ollama`` builds
them and prints it). CI sets ``AVOCADO_REQUIRE_REAL=1``, and then none is a failure.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_LISTED = os.environ.get("AVOCADO_REAL_OLLAMA", "").split(os.pathsep)
EXECUTABLES: list[Path | None] = [Path(path) for path in _LISTED if path]


def _version(path: Path | None) -> str:
    return "none" if path is None else path.parent.parent.name


@pytest.fixture(scope="module", params=EXECUTABLES or [None], ids=_version)
def real_ollama(request: pytest.FixtureRequest) -> Path:
    """Return a real ``ollama``; skipped, or failed in CI, where there is none."""
    executable: Path | None = request.param
    if executable is not None:
        assert os.access(executable, os.X_OK), f"{executable} cannot be executed"
        return executable
    reason = (
        "no real Ollama: set AVOCADO_REAL_OLLAMA to the output of "
        "`python -m tests.tools.real_ollama DIR` (needs go)"
    )
    if os.environ.get("AVOCADO_REQUIRE_REAL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
