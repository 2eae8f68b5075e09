"""The host's rows: it dies, hangs, ends, and its machine plays tricks on it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil
import pytest

from spicy_avocado_magic import down, status
from spicy_avocado_magic.client import launch
from spicy_avocado_magic.client.control_client import ANSWER_S
from spicy_avocado_magic.client.last_run import last_exit_report
from spicy_avocado_magic.client.log_reader import read_logs
from spicy_avocado_magic.errors import DaemonUnreachable, DiskTooSmall
from spicy_avocado_magic.protocol.state import State
from spicy_avocado_magic.system.processes import identify
from spicy_avocado_magic.system.rotating_file import MAX_BYTES, backup_path
from tests.machine_speed import scaled
from tests.main_job.home import Home

from . import promises
from .ending import END_S, end_by_guard, end_in_order
from .fault import Fault
from .kernels import wait_until
from .mounts import fill, tmpfs, why_no_mounts
from .preloading import preloaded
from .service import Service
from .watching import texts

Timing = tuple[float | None, float]

WHOLE_S: Final = scaled(20.0)
_NOISE_S: Final = scaled(1.5)
"""As in ``promises``; the host's own start is part of this one."""
_OWNER: Final = "owner.pid"
_CLOCK: Final = "/tmp/avocado-faults-clock"
_DESCRIPTORS: Final = 3000


def up_again(service: Service) -> float:
    """Do ``up`` without a word, and return the seconds until all is whole."""
    began = time.monotonic()
    avocado = service.up()
    assert avocado.outcome == "launched", f"up came to: {avocado.outcome}"
    took_s = promises.whole_again(service, began, WHOLE_S) - began
    most_s = 1.5 * service.bare_s + _NOISE_S
    assert took_s <= most_s, f"up took {took_s:.1f} s, at most {most_s:.1f} s promised"
    return took_s


def _killed(service: Service) -> Timing:
    pid = service.host
    detect_s = end_by_guard(service, lambda: os.kill(pid, signal.SIGKILL))
    assert status() is None, "status shows a host that was killed"
    last = last_exit_report(rehearse=False)
    assert last is not None, "status does not say what happened"
    assert "was killed" in last.text, last.text
    assert "%avocado_up starts it again" in last.text, last.text
    return detect_s, up_again(service)


def _both_killed(sweeps: Callable[[Service], object]) -> Callable[[Service], Timing]:
    def play(service: Service) -> Timing:
        children = [identify(pid) for pid in (service.agent, service.engine)]
        host, guard = service.host, service.guard
        service.mark()
        os.kill(guard, signal.SIGKILL)
        os.kill(host, signal.SIGKILL)
        assert all(c and c.is_alive for c in children), "nothing was left to sweep"
        sweeps(service)
        swept_s = time.monotonic() - service.broken_at
        left = [child for child in children if child and child.is_alive]
        assert not left, f"not swept: {left}"
        if service.fault.ends:
            return swept_s, 0.0
        if status() is None:
            return swept_s, up_again(service)
        whole_at = promises.whole_again(service, service.broken_at, WHOLE_S)
        return None, whole_at - service.broken_at

    return play


def _guard_killed(service: Service) -> Timing:
    old, began = service.guard, time.monotonic()
    service.kill(old)
    while True:
        with contextlib.suppress(ValueError):
            if service.guard != old:
                break
        assert time.monotonic() - began < scaled(5.0), "no new guard"
        time.sleep(0.02)
    replaced_s = time.monotonic() - began
    promises.stayed_up(service, service.broken_at)
    pid = service.host
    end_by_guard(service, lambda: os.kill(pid, signal.SIGKILL))
    return replaced_s, up_again(service)


def _hung(service: Service) -> Timing:
    service.freeze(service.host)
    with pytest.raises(
        DaemonUnreachable, match="has not answered for 5 seconds"
    ) as caught:
        status()
    shown_s = time.monotonic() - service.broken_at
    assert shown_s <= ANSWER_S + _NOISE_S, f"shown after {shown_s:.1f} s"
    assert "%avocado_down" in caught.value.remedy, caught.value
    service.undo.close()
    began = time.monotonic()
    return shown_s, promises.whole_again(service, began, WHOLE_S) - began


def _hung_ended(service: Service) -> Timing:
    service.freeze(service.host)
    ended = down()
    took_s = time.monotonic() - service.broken_at
    assert ended[0].was_running, ended
    assert took_s <= END_S, f"a hung host was ended in {took_s:.1f} s"
    return None, took_s


def _terminated(service: Service) -> Timing:
    pid = service.host
    return None, end_in_order(service, lambda: os.kill(pid, signal.SIGTERM))


def _ended_by_down(service: Service) -> Timing:
    thread = threading.Thread(target=down, daemon=True)
    took_s = end_in_order(service, thread.start)
    thread.join(END_S)
    return None, took_s


def _ended_by_ttl(service: Service) -> Timing:
    def is_warned(state: State) -> bool:
        return any("will soon end" in text for text in texts(state))

    assert not is_warned(service.state()), "warned an hour before the end"
    near_s = service.timeouts.ttl_warn_s - 1.0
    service.up(ttl_s=near_s)
    assert is_warned(service.state()), "no warning before --ttl ends it"
    service.up(ttl_s=4 * 3600.0)
    state = service.state()
    assert not is_warned(state), "still warned after --ttl 4h"
    assert (state.ends_in_s or 0.0) > 4 * 3600.0 - 60.0, "--ttl 4h did not extend it"
    service.up(ttl_s=1.0)
    ends_in_s = service.state().ends_in_s or 0.0
    took_s = end_in_order(service, lambda: time.sleep(max(0.0, ends_in_s - 0.3)))
    return None, took_s


def _owned(home: Home, undo: contextlib.ExitStack) -> None:
    """A ``sleep`` stands in for the notebook server that owns the service."""
    owner = undo.enter_context(subprocess.Popen(["sleep", "600"]))
    undo.callback(owner.kill)
    (home.path / _OWNER).write_text(str(owner.pid))
    patch = undo.enter_context(pytest.MonkeyPatch.context())
    patch.setattr(launch, "owner_pid", lambda: owner.pid)


def _ended_by_owner(service: Service) -> Timing:
    owner = int((service.home.path / _OWNER).read_text())
    return None, end_in_order(service, lambda: os.kill(owner, signal.SIGKILL))


def _small_state(home: Home, undo: contextlib.ExitStack) -> None:
    tmpfs(home.path / "run", undo)


def _disk_full(service: Service) -> Timing:
    filler = fill(service.home.path / "run")
    service.kill(service.engine)
    service.watch.first(
        lambda state: not state.is_ready,
        since=service.broken_at,
        within_s=scaled(5.0),
        description="the engine fell",
    )
    promises.user_sees(service, ["cannot be written"], scaled(5.0))
    whole_at = promises.whole_again(service, service.broken_at, WHOLE_S)
    with pytest.raises(DiskTooSmall, match="No space left"):
        service.up("other")
    assert service.avocado.models == ("tiny",), "a refused change was half made"
    filler.unlink()
    service.watch.first(
        lambda state: not any("Nothing can be" in text for text in texts(state)),
        since=time.monotonic(),
        within_s=scaled(5.0),
        description="the record is written again",
    )
    assert psutil.pid_exists(service.engine), "the record names the dead engine"
    return None, whole_at - service.broken_at


def _clock_steps(service: Service) -> None:
    clock = Path(os.environ["AVOCADO_FAULTS_CLOCK"])
    service.undo.callback(clock.unlink, missing_ok=True)
    for seconds in (90.0, 0.0, -90.0, 0.0):
        before = service.state().ends_in_s or 0.0
        new = clock.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(clock)
        if seconds > 0:
            service.avocado.add_key("ann", expires=3600)
        time.sleep(0.6)
        after = service.state().ends_in_s or 0.0
        assert before - 10.0 < after <= before, f"--ttl moved: {before} to {after}"
    (key,) = (key for key in list(service.avocado.keys()) if key.name == "ann")
    assert (key.expires_in_s or 0.0) > 3600 + 60, "the host's clock was not set"
    service.avocado.revoke_key("ann")


def _descriptors_in_use(service: Service) -> None:
    used = psutil.Process(service.host).num_fds()
    assert used > _DESCRIPTORS, f"only {used} descriptors are in use"
    service.kill(service.engine)


def _logs_grown(service: Service) -> Timing:
    """Fill every log from outside, then let engine and agent write more."""
    logs = service.folder.logs
    line = b"grown " * 16 + b"\n"
    for log in logs:
        with log.open("ab") as file:
            file.write(line * (MAX_BYTES // len(line) + 1))
    recover_s = 0.0
    for pid in (service.agent, service.engine):
        recover_s = promises.killed_and_whole(service, pid, WHOLE_S)
    wait_until(
        lambda: all(log.stat().st_size < MAX_BYTES for log in logs),
        f"not rotated: {[log.name for log in logs]}",
    )
    for log in logs:
        kept = backup_path(log).stat().st_size
        assert kept < 2 * MAX_BYTES, f"the backup of {log.name} has {kept} bytes"
    for component in ("engine", "tunnel"):
        shown = read_logs(service.folder, component, 20)
        new = [line for line in shown if "grown" not in line.text]
        assert new, f"the {component}'s new lines are not shown: {shown}"
    return None, recover_s


def _two_at_once(service: Service) -> Timing:
    pid = service.host
    end_by_guard(service, lambda: os.kill(pid, signal.SIGKILL))
    outcomes: list[str] = []
    barrier = threading.Barrier(2)

    def up() -> None:
        barrier.wait(scaled(5.0))
        outcomes.append(service.up().outcome)

    threads = [threading.Thread(target=up, daemon=True) for _ in range(2)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WHOLE_S)
    assert sorted(outcomes) == ["launched", "reused"], f"two ups came to {outcomes}"
    name = "spicy_avocado_magic.daemon"
    hosts = [process.pid for process in service.home.running(name)]
    assert len(hosts) == 1, f"hosts: {hosts}"
    return None, promises.whole_again(service, began, WHOLE_S) - began


def _row(name: str, expected: str, seen: str, **more: object) -> Fault:
    area = {"area": "host", "bound_s": 20.0}
    return Fault(name=name, expected=expected, seen=seen, **area | more)  # type: ignore[arg-type]


ROWS = (
    _row(
        "host-killed",
        "guard ends the rest in 1 s, up restores all",
        "all ended, shown “was killed”, restored by up",
        plays=_killed,
    ),
    _row(
        "host-and-guard-killed-up",
        "the next up sweeps and restores",
        "swept and restored",
        plays=_both_killed(lambda service: service.up()),
    ),
    _row(
        "host-and-guard-killed-status",
        "the next status sweeps, up restores",
        "swept, then restored by up",
        plays=_both_killed(lambda _: status()),
    ),
    _row(
        "host-and-guard-killed-down",
        "the next down sweeps",
        "swept, nothing left",
        plays=_both_killed(lambda _: down()),
        ends=True,
    ),
    _row(
        "guard-killed",
        "replaced, the new one knows its children",
        "replaced; it ended all when the host was killed",
        plays=_guard_killed,
    ),
    _row(
        "host-terminated",
        "ends in order within 5 s",
        "tunnel, gateway, engine, host",
        plays=_terminated,
        ends=True,
    ),
    _row(
        "ended-by-down",
        "ends in order within 5 s",
        "tunnel, gateway, engine, host",
        plays=_ended_by_down,
        ends=True,
    ),
    _row(
        "ended-by-ttl",
        "warned, extended by --ttl 4h, ends in order",
        "warned, extended; tunnel, gateway, engine, host",
        plays=_ended_by_ttl,
        options={"ttl_s": 3600.0},
        ends=True,
    ),
    _row(
        "ended-with-its-owner",
        "ends in order within 5 s of its wait",
        "tunnel, gateway, engine, host",
        plays=_ended_by_owner,
        prepares=_owned,
        timeouts={"owner_gone_s": 0.3, "owner_check_every_s": 0.1},
        ends=True,
        note="A `sleep` stands in for the notebook server that owns the service.",
    ),
    _row(
        "host-hung",
        "status says so within 5 s, then whole",
        "shown “has not answered for 5 seconds”",
        plays=_hung,
        note="Requests through the URL wait with it, until it goes on or down ends it.",
    ),
    _row(
        "host-hung-ended",
        "down ends it within 5 s",
        "killed, nothing left",
        plays=_hung_ended,
        ends=True,
    ),
    _row(
        "state-disk-full",
        "engine comes back, shown, changes refused",
        "whole, shown “Nothing can be written”, up refused",
        plays=_disk_full,
        prepares=_small_state,
        needs=why_no_mounts,
    ),
    _row(
        "logs-grown",
        "rotated, one backup each, nothing is lost",
        "rotated, whole again, new lines are shown",
        plays=_logs_grown,
    ),
    _row(
        "clock-steps-90-s",
        "nothing moves, both ways",
        "left alone",
        breaks=_clock_steps,
        keeps_all=True,
        variables=preloaded(AVOCADO_FAULTS_CLOCK=f"{_CLOCK}-{os.getpid()}"),
        options={"ttl_s": 3600.0},
        note="`time.time` of host and guard is replaced; the real clock is not set.",
    ),
    _row(
        "3000-descriptors-in-use",
        "an engine that dies comes back all the same",
        "whole again",
        breaks=_descriptors_in_use,
        part="engine",
        variables=preloaded(AVOCADO_FAULTS_DESCRIPTORS=str(_DESCRIPTORS)),
    ),
    _row(
        "two-hosts-at-once",
        "one wins, the other attaches",
        "one launched, one reused",
        plays=_two_at_once,
    ),
)
