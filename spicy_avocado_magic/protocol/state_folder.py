"""The state folder: its files, their permissions, and the daemon's record."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ..errors import PlatformUnsupported
from ..system.paths import private_folder, runtime_folder
from ..system.processes import Identity
from .json_codec import from_json, to_json
from .state import PROTOCOL


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A process group that the daemon started."""

    name: str
    identity: Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonRecord:
    """Identities of the daemon and its children, to find or to end them."""

    protocol: int = PROTOCOL
    version: str = ""
    host: Identity
    children: tuple[Child, ...] = ()


@dataclass(frozen=True, slots=True)
class StateFolder:
    """A machine-local folder, mode 0700, with all files of one daemon."""

    path: Path

    @classmethod
    def find(cls, *, rehearsal: bool) -> Self:
        """Return this user's folder; a rehearsal has a separate one.

        Raises:
            PlatformUnsupported: If it belongs to another user.
        """
        root = runtime_folder()
        return cls(private_folder(root / ("rehearsal" if rehearsal else "host")))

    @property
    def lock(self) -> Path:
        """The file that the daemon locks with ``flock`` as long as it runs."""
        return self.path / "lock"

    @property
    def socket(self) -> Path:
        """The daemon's control socket."""
        return self.path / "control.sock"

    @property
    def record_path(self) -> Path:
        """The ``DaemonRecord``; contains no secret."""
        return self.path / "record.json"

    @property
    def desired_state(self) -> Path:
        """Settings with API keys, mode 0600."""
        return self.path / "wanted.json"

    @property
    def agent_config(self) -> Path:
        """The agent's configuration with the tunnel's token, mode 0600."""
        return self.path / "ngrok.yml"

    @property
    def secrets(self) -> tuple[Path, Path]:
        """The two files that contain secrets; ``down`` removes them."""
        return (self.desired_state, self.agent_config)

    @property
    def usage(self) -> Path:
        """Usage of each named key; contains no secret."""
        return self.path / "usage.json"

    @property
    def restart_files(self) -> tuple[Path, ...]:
        """Files that a restarted daemon reads again; ``down`` removes them."""
        return (*self.secrets, self.usage)

    def read_secrets(self) -> dict[Path, str]:
        """Return the text of each existing file with secrets.

        Raises:
            PlatformUnsupported: If another user could have written or read one.
        """
        found = {path: read_private(path) for path in self.secrets}
        return {path: text for path, text in found.items() if text is not None}

    def log(self, name: str) -> Path:
        """Return the log file of ``host``, ``engine`` or ``agent``."""
        return self.path / f"{name}.log"

    @property
    def logs(self) -> tuple[Path, ...]:
        """The existing logs: host, engine, agent, rehearsal and access log."""
        return tuple(self.path.glob("*.log"))

    def read_record(self) -> DaemonRecord | None:
        """Return the record, or None if it is missing or invalid.

        Raises:
            PlatformUnsupported: If another user could have written or read it.
        """
        text = read_private(self.record_path)
        if text is None:
            return None
        try:
            return from_json(DaemonRecord, json.loads(text))
        except (ValueError, TypeError):
            return None

    def write_record(self, record: DaemonRecord) -> None:
        """Replace the record atomically."""
        write_private(self.record_path, json.dumps(to_json(record)))

    def remove(self, *, keep: Collection[Path] = ()) -> None:
        """Remove all files except the lock and those in ``keep``."""
        for file in self.path.iterdir():
            if file != self.lock and file not in keep:
                with contextlib.suppress(OSError):
                    file.unlink()


def write_private(path: Path, text: str) -> None:
    """Write a file with mode 0600, replacing an older one atomically."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_private(path: Path) -> str | None:
    """Return the text of a private file, or None if it cannot be read.

    Raises:
        PlatformUnsupported: If another user owns it or has access to it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    with os.fdopen(descriptor) as file:
        found = os.fstat(file.fileno())
        if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise PlatformUnsupported(
                f"{path} could have been written or read by others.",
                "Remove it and run %avocado_up again.",
            )
        try:
            return file.read()
        except UnicodeDecodeError:
            return None
