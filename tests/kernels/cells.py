"""Kernels with the extension loaded, and checks of their cells."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from spicy_avocado_magic import down
from tests.main_job.home import PACKAGE_PARENT, Home, new_home

from .kernel import Kernel, Output, new_kernel


@contextlib.contextmanager
def new_kernel_home(patch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Create a home for kernels, without any of our variables."""
    for name in ("NGROK_AUTHTOKEN", "AVOCADO_REHEARSE", "JPY_PARENT_PID"):
        patch.delenv(name, raising=False)
    patch.setenv("PYTHONPATH", str(PACKAGE_PARENT))
    with new_home(patch.setenv) as made:
        patch.setenv("IPYTHONDIR", str(made.path / "ipython"))
        yield made


@contextlib.contextmanager
def loaded_kernel() -> Iterator[Kernel]:
    """Start a kernel with the extension loaded; stop everything at the end."""
    with new_kernel() as started:
        good(started.run("%load_ext spicy_avocado_magic"))
        yield started
        down()


def good(output: Output) -> str:
    """Fail unless the cell succeeded; return its text."""
    assert output.status == "ok", output.text
    return output.text


def failed(output: Output, *words: str) -> None:
    """Fail unless the cell failed with one short message and no traceback."""
    assert output.status == "error", f"the cell did not fail: {output.text}"
    for word in words:
        assert word in output.text, f"{word!r} is not in: {output.text}"
    assert "Traceback" not in output.text, output.text
    assert 'File "' not in output.text, output.text
    assert len(output.traceback) <= 12, output.traceback
