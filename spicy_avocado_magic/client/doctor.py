"""``doctor()``: have everything examined by a process of its own, and report it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from ..config.settings import Endpoints
from ..config.timeouts import Timeouts
from ..config.tunnel import TUNNEL
from ..errors import DaemonUnreachable, SecretMissing, UsageError
from ..protocol.finding import Finding, broken
from ..protocol.json_codec import from_json, to_json
from ..system.platform_secrets import platform_secret
from ..system.processes import signal_group
from ..system.redaction import Redactor, Secret
from .launch import child_environment, rehearsal_requested

_TOKEN_VARIABLE: Final = TUNNEL.credential.variable


def doctor(
    *, rehearse: bool = False, report: str | Path | None = None
) -> tuple[Finding, ...]:
    """Check everything that can be wrong with this machine and the service on it.

    Blocks for as long as the slowest check, seconds in most cases; nothing is
    changed, and only the hosts that the service needs are asked.

    Args:
        rehearse: Whether the loopback world is examined, not the real hosts.
        report: File to write, for a bug report: findings, versions, settings, state
            and logs, without secrets and names. It must not exist.

    Returns:
        A finding for each check, with verdict and remedy.

    Raises:
        UsageError: If the report cannot be written there.
    """
    return run_doctor(
        rehearse=rehearse or rehearsal_requested(),
        report=None if report is None else Path(report),
        token=find_token({}),
    )


def run_doctor(
    *,
    rehearse: bool,
    token: Mapping[str, Any],
    report: Path | None = None,
    sources: Endpoints | None = None,
    timeouts: Timeouts | None = None,
) -> tuple[Finding, ...]:
    """Do what ``doctor`` does, with a token that was looked for already.

    Raises:
        UsageError: If the report cannot be written there.
    """
    timeouts = timeouts or Timeouts()
    if report is not None:
        report = report.expanduser().absolute()
        _require_new(report)
    request = {
        "rehearse": rehearse,
        "with_report": report is not None,
        "sources": to_json(sources or Endpoints(rehearsal=rehearse)),
        "timeouts": to_json(timeouts),
        "token": dict(token),
    }
    try:
        answer = _ask(json.dumps(request), timeouts.diagnosis_s)
    except DaemonUnreachable as error:
        redact = Redactor([str(token.get("text", ""))])
        failed = broken("doctor", redact(error.problem), error.remedy)
        if report is not None:
            plain = {"findings": {failed.name: to_json(failed)}}
            _write_new(report, json.dumps(plain, indent=2, ensure_ascii=False))
        return (failed,)
    if report is not None:
        text = json.dumps(answer["report"], indent=2, ensure_ascii=False)
        _write_new(report, text + "\n")
    return tuple(from_json(Finding, plain) for plain in answer["findings"])


def find_token(
    namespace: Mapping[str, Any], given: str = "", origin: str = "--token"
) -> dict[str, Any]:
    """Return the tunnel's token as ``up`` would find it, and where it came from.

    Args:
        namespace: The notebook's variables.
        given: What was given to be looked at; goes before all others.
        origin: Where that came from, in plain words.
    """
    places: tuple[tuple[str, Callable[[], Any]], ...] = (
        (origin, lambda: given),
        (f"the variable {_TOKEN_VARIABLE}", lambda: namespace.get(_TOKEN_VARIABLE)),
        ("the environment", lambda: os.environ.get(_TOKEN_VARIABLE)),
        ("this platform's secrets", lambda: platform_secret(_TOKEN_VARIABLE)),
    )
    for where, look in places:
        try:
            found = look()
        except SecretMissing:  # withheld by the platform; `up` tells why
            continue
        text = (
            found.get_secret_value() if isinstance(found, Secret) else str(found or "")
        )
        if text:
            is_api_key = text == os.environ.get(TUNNEL.credential.other_variable)
            return {"text": text, "origin": where, "is_api_key": is_api_key}
    return {}


def _ask(request: str, wait_s: float) -> dict[str, Any]:
    """Run the examination and return its answer; nothing of it outlives this.

    Raises:
        DaemonUnreachable: If it fails as a whole, or takes too long.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "spicy_avocado_magic.doctor"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(),
        cwd="/",
        start_new_session=True,
        text=True,
        errors="replace",
    )
    with process:
        try:
            told, said = process.communicate(request + "\n", wait_s)
        except subprocess.TimeoutExpired:
            raise DaemonUnreachable(
                f"The examination took longer than {wait_s:g} s and was ended.",
                "Run %avocado_doctor again; if it stays so, restart the runtime.",
            ) from None
        finally:
            # Whatever a check has started ends with it.
            signal_group(process.pid, signal.SIGKILL)
    try:
        # Before it stands what a library of the examination may have printed.
        answer: dict[str, Any] = json.loads(told.strip().rpartition("\n")[2])
    except ValueError:
        why = said.strip().rpartition("\n")[2] or f"exit code {process.returncode}"
        raise DaemonUnreachable(
            f"The examination itself failed: {why}.",
            "Run %pip install -U spicy-avocado-magic, then restart the kernel.",
        ) from None
    return answer


def _require_new(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise UsageError(
            f"{path} exists already; it is left as it is.",
            "Name another file for --report, or remove this one first.",
        )
    if not path.parent.is_dir():
        raise UsageError(
            f"There is no folder {path.parent}.", "Make it, or name another file."
        )


def _write_new(path: Path, text: str) -> None:
    """Write a file that only its owner can read, and that was not there before."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        _require_new(path)
        raise
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}.", "Name another file."
        ) from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise UsageError(
            f"{path} cannot be written: {error.strerror}.", "Name another file."
        ) from error
