"""The public names of the package, and what loading it imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

import spicy_avocado_magic

HEAVY = (
    "aiohttp",
    "asyncio",
    "dotenv",
    "psutil",
    "pyngrok",
    "requests",
    "tenacity",
    "zstandard",
)
NAMES = """
from spicy_avocado_magic import Avocado, AvocadoError, doctor, down, logs, status, up
for verb in (doctor, down, logs, status, up):
    print(callable(verb))
print(issubclass(AvocadoError, Exception))
print(type(Avocado).__name__, type(AvocadoError).__name__)
"""
"""In a fresh interpreter: the package ``doctor`` hides the function once imported."""
LOAD = """
import sys
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
config = Config()
config.HistoryManager.enabled = False
shell = InteractiveShell.instance(config=config)
before = set(sys.modules)
shell.run_line_magic("load_ext", "spicy_avocado_magic")
added = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(added))
"""


def test_the_public_names_are_these() -> None:
    """A change of this list is a decision."""
    assert spicy_avocado_magic.__all__ == [
        "Avocado",
        "AvocadoError",
        "doctor",
        "down",
        "logs",
        "status",
        "up",
    ]
    done = subprocess.run(
        [sys.executable, "-c", NAMES], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["True"] * 6 + ["type", "type"], done


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As in any module."""
    with pytest.raises(AttributeError, match="guacamole"):
        _ = spicy_avocado_magic.guacamole


def test_loading_imports_no_heavy_module(tmp_path: object) -> None:
    """``%load_ext`` is instant: heavy modules are imported on use."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        check=True,
        capture_output=True,
        text=True,
        env={"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    added = set(done.stdout.split())
    assert "spicy_avocado_magic" in added, done.stdout + done.stderr
    assert not added & set(HEAVY)
