"""The package as ``pip install`` leaves it, which a checkout need not be."""

from __future__ import annotations

import compileall
from pathlib import Path

import spicy_avocado_magic


def compile_package() -> None:
    """Compile the package as pip does at installation.

    Where ``PYTHONDONTWRITEBYTECODE`` is set, as in many containers, a checkout is
    compiled again by each process: some 0.2 s of CPU that no user pays.
    """
    compileall.compile_dir(Path(spicy_avocado_magic.__file__).parent, quiet=2)
