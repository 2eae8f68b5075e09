"""This machine: platform, paths, processes, secrets and their redaction, log files."""

from pathlib import Path
from typing import Final

PACKAGE_FOLDER: Final = Path(__file__).resolve().parents[1]
IMPORT_ROOT: Final = PACKAGE_FOLDER.parent
"""What a child process needs on its ``sys.path`` to import this very package."""
