"""The error tree: each error has a problem, what happened, and a remedy, what to do.

AvocadoError                   everything that this package raises on purpose
├── UserActionRequired         the user has to act; never retried
│   ├── UsageError             an unknown option, a wrong value or a wrong line
│   ├── SecretMissing          a token or ``$NAME`` that is defined nowhere
│   ├── InvalidToken           the token is rejected (ERR_NGROK_105, 106, 107 …)
│   ├── EndpointUnavailable    the account may not use this URL (313, 338, 727 …)
│   │   └── EndpointInUse      another session uses it, perhaps our own (334, 108)
│   ├── ModelUnavailable       unknown, gated, or it needs a newer engine
│   ├── PortInUse              another program uses the port
│   ├── ChecksumMismatch       two downloads in a row differ from what is published
│   └── VersionMismatch        the package was upgraded while the service ran
├── NotebookUnsupported        this machine cannot do it; never retried
│   ├── DiskTooSmall           an archive or model does not fit on the disk
│   ├── MemoryTooSmall         the model does not fit into RAM and VRAM together
│   └── PlatformUnsupported    Windows, or a folder that cannot be used
├── ComponentFailed            a component failed; retried with backoff
│   ├── EngineFailed           ``ollama serve``
│   ├── DownloadFailed         an archive, agent or blob arrived incomplete
│   ├── GatewayFailed          the authenticating proxy
│   ├── TunnelFailed           the agent or its endpoint
│   │   └── TrafficPolicyRejected    the provider does not accept our traffic policy
│   └── NetworkUnreachable     no answer; often there is no network at all
├── DaemonUnreachable          the background process does not start or answer
│   └── DaemonUnresponsive     it is alive, but does not answer in time
├── Interrupted                the user pressed stop; changes were undone
├── StartTimeout               no progress for minutes; the daemon keeps trying
└── InternalError              a bug of this package
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from typing import ClassVar, Final

LOG_LINES_SHOWN: Final = 8
SHOWN_ABOVE: Final = "✗ The card above shows the problem and what to do."


class AvocadoError(Exception):
    """Base class of all errors of this package; IPython shows it in two lines.

    Attributes:
        problem: One sentence: what happened.
        remedy: One sentence: what the user can do now.
        log_tail: The last lines of the failed component's log, oldest first.
        permanent: Whether a retry without the user's help is useless.
        is_displayed: Whether the card above shows the error already.
    """

    permanent: ClassVar[bool] = False

    def __init__(
        self, problem: str, remedy: str, *, log_tail: Sequence[str] = ()
    ) -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy
        self.log_tail = tuple(log_tail)
        self.is_displayed = False

    def __str__(self) -> str:
        return f"{self.problem} {self.remedy}"

    def _render_traceback_(self) -> list[str]:
        """Return the lines to show instead of a traceback (a hook of IPython ≥ 7)."""
        if self.is_displayed:
            return [SHOWN_ABOVE]
        lines = [f"✗ {self.problem}", f"  → {self.remedy}"]
        return lines + [f"    │ {line}" for line in self.log_tail[-LOG_LINES_SHOWN:]]


class UserActionRequired(AvocadoError):
    """The user has to act; it is never retried."""

    permanent = True


class UsageError(UserActionRequired, ValueError):
    """An unknown option, a wrong value or a wrong line."""


class SecretMissing(UserActionRequired, LookupError):
    """A token or ``$NAME`` that is defined nowhere."""


class InvalidToken(UserActionRequired):
    """The tunnel provider rejects the token."""


class EndpointUnavailable(UserActionRequired):
    """The tunnel provider accepts the token, but the account may not use the URL."""


class EndpointInUse(EndpointUnavailable):
    """Another session uses the URL; after a network failure it may be our own."""


class ModelUnavailable(UserActionRequired):
    """The model does not exist, or this account or engine may not use it."""


class PortInUse(UserActionRequired):
    """Another program uses the port."""


class ChecksumMismatch(UserActionRequired):
    """Two downloads in a row do not match the published checksum."""


class VersionMismatch(UserActionRequired):
    """The running daemon belongs to another version of the package."""


class NotebookUnsupported(AvocadoError):
    """This machine cannot do what was requested."""

    permanent = True


class DiskTooSmall(NotebookUnsupported):
    """An archive or a model does not fit on the disk."""


class MemoryTooSmall(NotebookUnsupported):
    """A model does not fit into RAM and VRAM together."""


class PlatformUnsupported(NotebookUnsupported):
    """The operating system or a folder cannot be used."""


class ComponentFailed(AvocadoError):
    """A component failed; it is retried with backoff."""


class EngineFailed(ComponentFailed):
    """``ollama serve`` did not start, crashed or does not answer."""


class DownloadFailed(ComponentFailed):
    """An archive, agent or blob did not arrive, or incomplete."""


class GatewayFailed(ComponentFailed):
    """The gateway could not be opened, or does not answer."""


class TunnelFailed(ComponentFailed):
    """The agent or its endpoint failed."""


class TrafficPolicyRejected(TunnelFailed):
    """The tunnel provider rejects our traffic policy, or applies it wrongly."""


class NetworkUnreachable(ComponentFailed):
    """No network host answers."""


class DaemonUnreachable(AvocadoError):
    """The background process does not start or does not answer."""


class DaemonUnresponsive(DaemonUnreachable):
    """The background process is alive, but does not answer in time."""


class Interrupted(AvocadoError, KeyboardInterrupt):
    """The user pressed stop; changes that were not ready yet were undone."""


class StartTimeout(AvocadoError, TimeoutError):
    """There was no progress for minutes; the daemon keeps trying."""


class InternalError(AvocadoError):
    """A bug of this package."""


_DISK_ERRNOS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def iter_error_classes(
    root: type[AvocadoError] = AvocadoError,
) -> Iterator[type[AvocadoError]]:
    """Yield all error classes, the root first."""
    yield root
    for child in root.__subclasses__():
        yield from iter_error_classes(child)


def error_from_name(
    kind: str, problem: str, remedy: str, log_tail: Sequence[str] = ()
) -> AvocadoError:
    """Return an error that the daemon sent, by the name of its class."""
    classes = {cls.__name__: cls for cls in iter_error_classes()}
    return classes.get(kind, InternalError)(problem, remedy, log_tail=log_tail)


def as_avocado_error(error: BaseException) -> AvocadoError:
    """Return an error of this package as it is, and any other as a bug.

    A full or read-only disk is no bug: it becomes an error with a remedy.
    """
    if isinstance(error, AvocadoError):
        return error
    if isinstance(error, OSError) and error.errno in _DISK_ERRNOS:
        place = f"{error.filename}: " if error.filename else "A disk is unusable: "
        problem = f"{place}{os.strerror(error.errno)}."
        if error.errno == errno.EROFS:
            return PlatformUnsupported(problem, "Choose a folder on another disk.")
        remedy = "Free some space there, then run %avocado_up again."
        return DiskTooSmall(problem, remedy)
    return InternalError(
        f"Unexpected {type(error).__name__}: {error}",
        "%avocado_up --restart usually helps. Please report the bug with the file that "
        "%avocado_doctor --report FILE writes.",
    )
