"""A home for kernels: what they start is a rehearsal's, and all of it ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.main_job.home import PACKAGE_PARENT, Home, new_home


@contextlib.contextmanager
def kernel_home(patch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Make a home that kernels, and servers of kernels, take over from here.

    No account is in it, and no notebook server around it; at its end nothing of the
    product may be left.
    """
    for name in ("NGROK_AUTHTOKEN", "AVOCADO_REHEARSE", "JPY_PARENT_PID"):
        patch.delenv(name, raising=False)
    patch.setenv("PYTHONPATH", str(PACKAGE_PARENT))
    with new_home(patch.setenv) as made:
        patch.setenv("IPYTHONDIR", str(made.path / "ipython"))
        yield made
