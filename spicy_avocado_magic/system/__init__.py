"""The local machine: platform, paths, processes, secrets, redaction and log files."""

from pathlib import Path
from typing import Final

PACKAGE_FOLDER: Final = Path(__file__).resolve().parents[1]
IMPORT_ROOT: Final = PACKAGE_FOLDER.parent
"""The entry that a child process needs on ``sys.path`` to import this package."""
