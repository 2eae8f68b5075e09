"""Context that all components share: settings, folders, state, child processes."""

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
    """Log of a child's lines: with a time, redacted, of bounded size."""

    def __init__(self, path: Path, redact: Redactor) -> None:
        self._file, self._redact = RotatingFile(path), redact

    def __call__(self, text: str) -> None:
        """Append lines; they are lost if the disk is full."""
        stamp = utc_text(time.time())
        self._file.append([f"{stamp} {x}" for x in self._redact(text).splitlines()])

    def tail(self, count: int) -> list[str]:
        """Return the last lines, oldest first."""
        return tail_lines(self._file.path, count)


class ChildProcesses:
    """The process groups that the daemon started, recorded and known to the reaper."""

    def __init__(
        self, folder: StateFolder, record: DaemonRecord, reaper: Reaper
    ) -> None:
        self._folder, self._record, self._reaper = folder, record, reaper
        self._children: dict[str, Identity] = {}
        self.is_on_record = True
        """Whether the record on disk has all of them."""
        self.warn: Callable[..., None] = lambda *_: None
        """Called with a problem of the record, or with nothing once it is solved."""

    def add(self, name: str, identity: Identity) -> None:
        """Record a group before it is used."""
        self._children[name] = identity
        self._reaper.add(name, identity)
        self.publish()

    def remove(self, name: str) -> None:
        """Remove a group that has ended."""
        self._children.pop(name, None)
        self._reaper.done(name)
        self.publish()

    def all(self) -> dict[str, Identity]:
        """Return the recorded groups by name."""
        return dict(self._children)

    async def republish_periodically(self, every_s: float) -> None:
        """Write the record again once the disk allows it, until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            if not self.is_on_record:
                self.publish()

    def publish(self) -> None:
        """Write the record by which kernels find the daemon.

        On a full disk the previous record stays; the reaper knows the children anyway.
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
            self.warn(f"The folder {self._folder.path} cannot be written: {error}.")
        else:
            self.is_on_record = True
            self.warn()


@dataclass(slots=True, kw_only=True)
class DaemonContext:
    """The context of every component; ``settings`` is replaced by each change."""

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
        """The folder of engines; chosen once, so that nothing is downloaded twice."""
        if self._engines_choice is None:
            is_rehearsal = self.settings.sources.rehearsal
            self._engines_choice = engines_folder(rehearsal=is_rehearsal)
        return self._engines_choice

    @property
    def models_folder(self) -> Path:
        """The folder of models; chosen once, so that the engine has the same.

        Raises:
            UsageError: If it is on a drive that is not mounted.
        """
        models_dir = self.settings.models_dir
        if self._models_choice is None or self._models_choice[0] != models_dir:
            chosen = models_folder(
                models_dir,
                rehearsal=self.settings.sources.rehearsal,
                scratch=self.platform.scratch,
            )
            self._models_choice = (models_dir, chosen)
        folder = self._models_choice[1]
        require_drive_mounted(folder, self.platform)
        return folder
