"""A stand-in for Colab's page: it answers the kernel's requests."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from tests.kernels.kernel import Kernel, new_kernel
from tests.main_job.home import PACKAGE_PARENT

_LAUNCHER: Final = (
    # Colab's has imported it before the first cell runs.
    "from tests import colab_stand_in as colab; "
    "colab.install(colab.ask_page, {timeout_s}); "
    "from ipykernel.kernelapp import launch_new_instance; launch_new_instance()"
)
VARIABLES: Final = {"COLAB_RELEASE_TAG": "release-colab", "COLAB_GPU": "1"}


@dataclass(slots=True, kw_only=True)
class ColabPage:
    """The secrets of the page, and whether the page answers."""

    secrets: dict[str, str] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    """Names that this notebook was not given access to."""
    error: str = ""
    """Error of every request."""
    is_open: bool = True
    asked: list[str] = field(default_factory=list)

    def answer(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Return the reply to a message of the kernel, or None."""
        if message["msg_type"] != "colab_request":
            return None
        about = message["metadata"]
        assert about["colab_request_type"] == "GetSecret", "the page knows no other"
        name = message["content"]["request"]["key"]
        self.asked.append(name)
        if not self.is_open:
            return None
        reply = {"type": "colab_reply", "colab_msg_id": about["colab_msg_id"]}
        if self.error:
            return reply | {"error": self.error}
        data: dict[str, Any] = {
            "exists": name in self.secrets,
            "access": name in self.secrets and name not in self.closed,
        }
        if data["access"]:
            data["payload"] = self.secrets[name]
        return reply | {"data": data}


@contextlib.contextmanager
def colab_kernel(page: ColabPage, timeout_s: float) -> Iterator[Kernel]:
    """Start a kernel as Colab does, with a time-out for answers of its page."""
    launcher = _LAUNCHER.format(timeout_s=timeout_s)
    command = (sys.executable, "-c", launcher, "-f", "{connection_file}")
    environment = os.environ | VARIABLES | {"PYTHONPATH": str(PACKAGE_PARENT)}
    with new_kernel(command, env=environment) as kernel:
        kernel.page = page.answer
        yield kernel
