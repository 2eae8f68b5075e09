"""Faults that are switched by a JSON file while the stand-ins run.

``AVOCADO_TEST_FAULTS`` names the file, which is read at each request; where it does not
exist, there are none. For the engine (``tests.fault_injection.engine``):

- ``start``: what the server prints before it exits at once;
- ``load``: the error with which every use of a model is refused, status 500;
- ``exit``: whether the server exits when a model is used;
- ``status``: the status of *every* answer, the health check's too;
- ``first_token_s``: seconds before the first word of an answer.

For the agent (``tests.fault_injection.agent``):

- ``agent_version``: the version that it prints;
- ``flood``: lines that it logs at its start;
- ``api_s``: seconds before each answer of its local API.

For the release host and the registry (``tests.fault_injection.downloads``):

- ``bytes_s``: how many bytes a second a reply has, so that a download can be watched.

``pid`` is the only process that all these hold for.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

VARIABLE: Final = "AVOCADO_TEST_FAULTS"


def active_faults() -> dict[str, Any]:
    """Return the faults that hold for this process now."""
    try:
        faults = json.loads(Path(os.environ.get(VARIABLE, "")).read_text())
    except (OSError, ValueError):
        return {}
    is_ours = isinstance(faults, dict) and faults.get("pid", os.getpid()) == os.getpid()
    return faults if is_ours else {}
