"""What all lives of one host share: settings, folders, the board and the children."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..config.settings import Settings
from ..config.timeouts import Timeouts
from ..protocol.event_log import EventLog, utc_text
from ..protocol.state_folder import Child, DaemonRecord, StateFolder
from ..system.paths import engines_folder, models_folder, require_drive_mounted
from ..system.platforms import Platform
from ..system.processes import Identity
from ..system.redaction import Redactor
from ..system.rotating_file import RotatingFile, tail_lines
from ..tunnel.provider import TunnelProvider
from ..tunnel.registry import PROVIDERS
from .reaper import Reaper
from .state_store import StateStore


class RedactedLog:
    """What a child says to us, line by line: stamped, redacted and bounded."""

    def __init__(self, path: Path, redact: Redactor) -> None:
        self._file, self._redact = RotatingFile(path), redact

    def __call__(self, text: str) -> None:
        """Append its lines; they are lost where the disk is full."""
        stamp = utc_text(time.time())
        self._file.append([f"{stamp} {x}" for x in self._redact(text).splitlines()])

    def tail(self, count: int) -> list[str]:
        """Return the last lines, oldest first."""
        return tail_lines(self._file.path, count)


class ChildProcesses:
    """The process groups that the host started: on record, and under guard."""

    def __init__(
        self, folder: StateFolder, record: DaemonRecord, guard: Reaper
    ) -> None:
        self._folder, self._record, self._reaper = folder, record, guard
        self._children: dict[str, Identity] = {}
        self.is_on_record = True
        """Whether the record tells of all of them."""
        self.warn: Callable[..., None] = lambda *_: None
        """Told what is wrong with the record; nothing if all is well."""

    def add(self, name: str, identity: Identity) -> None:
        """Put a group on record before anything else happens with it."""
        self._children[name] = identity
        self._reaper.add(name, identity)
        self.publish()

    def remove(self, name: str) -> None:
        """Take a group that has ended off the record."""
        self._children.pop(name, None)
        self._reaper.done(name)
        self.publish()

    def all(self) -> dict[str, Identity]:
        """Return the groups that are on record now, by name."""
        return dict(self._children)

    async def republish_periodically(self, every_s: float) -> None:
        """Write the record once the disk takes it again, until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            if not self.is_on_record:
                self.publish()

    def publish(self) -> None:
        """Write the record, by which kernels find the host.

        Where the disk takes nothing more, the last one stays: the guard knows the
        children all the same.
        """
        children = tuple(
            Child(name=name, identity=identity)
            for name, identity in self._children.items()
        )
        record = replace(self._record, children=children)
        try:
            self._folder.write_record(record)
        except OSError as error:
            self.is_on_record = False
            self.warn(f"Nothing can be written to {self._folder.path}: {error}.")
        else:
            self.is_on_record = True
            self.warn()


@dataclass(slots=True, kw_only=True)
class DaemonContext:
    """Handed to every life; ``settings`` is replaced when they change."""

    settings: Settings
    folder: StateFolder
    timeouts: Timeouts
    platform: Platform
    store: StateStore
    children: ChildProcesses
    log: EventLog
    redact: Redactor
    probe_secret: bytes = field(repr=False)
    _engines_choice: Path | None = field(default=None, init=False, repr=False)
    _models_choice: tuple[str, Path] | None = field(
        default=None, init=False, repr=False
    )

    @property
    def provider(self) -> TunnelProvider:
        """The tunnel provider that the settings name."""
        return PROVIDERS[self.settings.sources.tunnel]

    @property
    def engines_folder(self) -> Path:
        """Where engines are kept; what was chosen once stays, or all comes again."""
        if self._engines_choice is None:
            is_rehearsal = self.settings.sources.rehearsal
            self._engines_choice = engines_folder(rehearsal=is_rehearsal)
        return self._engines_choice

    @property
    def models_folder(self) -> Path:
        """Where models are kept; what was chosen once stays, or the engine's differs.

        Raises:
            UsageError: If that is on a drive that is not mounted.
        """
        asked = self.settings.models_dir
        if self._models_choice is None or self._models_choice[0] != asked:
            chosen = models_folder(
                asked,
                rehearsal=self.settings.sources.rehearsal,
                scratch=self.platform.scratch,
            )
            self._models_choice = (asked, chosen)
        folder = self._models_choice[1]
        require_drive_mounted(folder, self.platform)
        return folder
