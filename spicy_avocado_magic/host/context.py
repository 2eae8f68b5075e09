"""What all lives of one host share: settings, folders, the board and the children."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from ..bounded_file import BoundedFile, tail_lines
from ..environment import (
    Platform,
    engines_folder,
    models_folder,
    require_mounted,
)
from ..flight_recorder import Recorder, utc_text
from ..policy import Policy
from ..processes import Identity
from ..secrets import Redactor
from ..settings import Settings
from ..state_folder import Child, Record, StateFolder
from .board import Board
from .guard import Guard


class Log:
    """What a child says to us, line by line: stamped, redacted and bounded."""

    def __init__(self, path: Path, redact: Redactor) -> None:
        self._file, self._redact = BoundedFile(path), redact

    def __call__(self, text: str) -> None:
        """Append its lines; they are lost where the disk is full."""
        stamp = utc_text(time.time())
        self._file.append([f"{stamp} {x}" for x in self._redact(text).splitlines()])

    def tail(self, count: int) -> list[str]:
        """Return the last lines, oldest first."""
        return tail_lines(self._file.path, count)


class Children:
    """The process groups that the host started: on record, and under guard."""

    def __init__(self, folder: StateFolder, record: Record, guard: Guard) -> None:
        self._folder, self._record, self._guard = folder, record, guard
        self._children: dict[str, Identity] = {}

    def add(self, name: str, identity: Identity) -> None:
        """Put a group on record before anything else happens with it."""
        self._children[name] = identity
        self._guard.add(name, identity)
        self.publish()

    def done(self, name: str) -> None:
        """Take a group that has ended off the record."""
        self._children.pop(name, None)
        self._guard.done(name)
        self.publish()

    def all(self) -> dict[str, Identity]:
        """Return the groups that are on record now, by name."""
        return dict(self._children)

    def publish(self) -> None:
        """Write the record, by which kernels find the host."""
        children = tuple(
            Child(name=name, identity=identity)
            for name, identity in self._children.items()
        )
        self._folder.write_record(
            Record(
                version=self._record.version,
                host=self._record.host,
                children=children,
            )
        )


@dataclass(slots=True, kw_only=True)
class Context:
    """Handed to every life; ``settings`` is replaced when they change."""

    settings: Settings
    folder: StateFolder
    policy: Policy
    platform: Platform
    board: Board
    children: Children
    log: Recorder
    redact: Redactor
    probe_secret: bytes = field(repr=False)

    @property
    def engines_folder(self) -> Path:
        """Where engines are kept."""
        return engines_folder(rehearsal=self.settings.sources.rehearsal)

    @property
    def models_folder(self) -> Path:
        """Where models are kept.

        Raises:
            UsageMistake: If that is on a drive that is not mounted.
        """
        folder = models_folder(
            self.settings.models_dir,
            rehearsal=self.settings.sources.rehearsal,
            scratch=self.platform.scratch,
        )
        require_mounted(folder, self.platform)
        return folder
