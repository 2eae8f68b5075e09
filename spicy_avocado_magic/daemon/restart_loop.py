"""Restart loop of one component, with backoff and a limit on crashes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from ..config.timeouts import Timeouts
from ..errors import AvocadoError, EndpointInUse, NetworkUnreachable, as_avocado_error
from .state_store import StateStore

RunComponent = Callable[["Readiness"], Awaitable[None]]


class RestartRequested(Exception):
    """A run was cancelled on purpose, so that the next one uses new settings."""


class Readiness:
    """Readiness of a component, which can be awaited either way."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._up, self._down = asyncio.Event(), asyncio.Event()
        self._down.set()
        self._clock = clock
        self.ready_at: float | None = None
        """When this run became ready, in seconds of the clock; None if it did not."""

    @property
    def was_ready(self) -> bool:
        """Whether it was ready at any time in this run."""
        return self.ready_at is not None

    @property
    def is_up(self) -> bool:
        """Whether it is ready now."""
        return self._up.is_set()

    def set_ready(self) -> None:
        """Mark it as ready."""
        self.ready_at = self._clock()
        self._down.clear()
        self._up.set()

    def set_unready(self) -> None:
        """Mark it as not ready."""
        self._up.clear()
        self._down.set()

    async def wait_ready(self) -> None:
        """Return once it is ready."""
        await self._up.wait()

    async def wait_unready(self) -> None:
        """Return once it is not ready."""
        await self._down.wait()


def backoff_delay_s(timeouts: Timeouts, failures: int, chance: float) -> float:
    """Return the seconds before the next run: doubled each time, with jitter."""
    longest = timeouts.backoff_first_s * 2.0 ** min(failures - 1, 32)
    jitter_s = timeouts.backoff_jitter_s
    return min(timeouts.backoff_max_s - jitter_s, longest) + chance * jitter_s


class RestartLoop:
    """A loop that runs a component again whenever it has ended.

    A run is a coroutine: bring up, set ready, watch. One that returns lost something
    that it depends on, and the next run follows at once. An error is a crash, followed
    by backoff, or by giving up where no delay can help. After a long time of being
    ready, the first restart follows almost at once.
    """

    def __init__(
        self,
        name: str,
        run: RunComponent,
        store: StateStore,
        timeouts: Timeouts,
        *,
        log: Callable[[str], None],
        on_given_up: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._on_given_up = on_given_up
        self.ready = Readiness(clock)
        self._component, self._store, self._timeouts = run, store, timeouts
        self._log, self._clock = log, clock
        self._failures: list[tuple[float, AvocadoError]] = []
        """The crashes within the window, each with its time."""
        self._was_ready = False
        self._was_stable = False
        """Whether the last run was ready for at least ``stable_s``."""
        self._task: asyncio.Task[None] | None = None
        self._restart_requested = asyncio.Event()

    def restart(self, *, with_new_settings: bool = False) -> None:
        """Start a new run now and forget crashes; a present run is cancelled.

        New settings have never worked, so they get only as many tries as a first
        start, and whoever asked for them soon sees the error.
        """
        self._failures.clear()
        if with_new_settings:
            # The run that is cancelled here must not count for the new settings.
            self._was_ready, self.ready.ready_at = False, None
        self._store.reset(self.name)
        self._restart_requested.set()
        if self._task is not None:
            self._task.cancel()

    async def run(self) -> None:
        """Run the component until cancelled; after giving up, wait for ``restart``."""
        while True:
            try:
                await self._retrying()(self._run_once)
            except RestartRequested:
                continue
            except AvocadoError as error:
                self._log(f"{self.name}: gave up: {error}")
                self._on_given_up()
                self._store.fail(self.name, error, again=False)
                await self._restart_requested.wait()

    def _retrying(self) -> AsyncRetrying:
        return AsyncRetrying(
            retry=retry_if_exception(self._is_retryable),
            wait=lambda _: self._delay_s(),
            before_sleep=self._report_backoff,
            sleep=self._sleep,
            reraise=True,
        )

    def _delay_s(self) -> float:
        if self._was_stable:
            return self._timeouts.stable_pause_s
        chance = random.random()  # noqa: S311  (jitter needs no cryptographic chance)
        return backoff_delay_s(self._timeouts, len(self._failures), chance)

    def _is_retryable(self, error: BaseException) -> bool:
        if not isinstance(error, AvocadoError):
            return False
        # After a network loss the service may count our old session as another's.
        is_passing = isinstance(error, EndpointInUse) and self._was_ready
        if error.permanent and not is_passing:
            return False
        tries = self._timeouts.restart_tries
        if not self._was_ready:
            tries = self._timeouts.first_start_tries
        crashes = [
            e for _, e in self._failures if not isinstance(e, NetworkUnreachable)
        ]
        return len(crashes) < tries

    def _report_backoff(self, attempt: RetryCallState) -> None:
        error = attempt.outcome.exception() if attempt.outcome else None
        if isinstance(error, AvocadoError):
            self._log(f"{self.name}: crash {len(self._failures)}: {error}")
            self._store.fail(self.name, error, again=True)

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._restart_requested.wait()

    async def _run_once(self) -> None:
        self._restart_requested.clear()
        self.ready.ready_at = None
        self._task = asyncio.create_task(self._run_component(), name=self.name)
        try:
            await self._task
        except asyncio.CancelledError:
            _raise_if_cancelled()
            raise RestartRequested from None
        except Exception as error:
            _raise_if_cancelled()
            raise self._record_failure(as_avocado_error(error)) from error
        finally:
            self._was_ready = self._was_ready or self.ready.was_ready
            self.ready.set_unready()
        _raise_if_cancelled()
        raise RestartRequested

    def _record_failure(self, error: AvocadoError) -> AvocadoError:
        """Count a crash; old ones are dropped if the run had become ready."""
        now, ready_at = self._clock(), self.ready.ready_at
        was_ready_s = 0.0 if ready_at is None else now - ready_at
        self._was_stable = was_ready_s >= self._timeouts.stable_s
        if ready_at is not None:
            oldest = now - self._timeouts.crash_window_s
            self._failures = [crash for crash in self._failures if crash[0] > oldest]
        self._failures.append((now, error))
        return error

    async def _run_component(self) -> None:
        await self._component(self.ready)


def _raise_if_cancelled() -> None:
    """Raise the cancellation of this loop itself, whatever its run made of it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def first_completed(*contenders: Coroutine[Any, Any, Any]) -> int:
    """Return the index of the first coroutine that finishes; cancel the others.

    If the first one raised, its error is raised.
    """
    tasks = [asyncio.ensure_future(contender) for contender in contenders]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    first = next(index for index, task in enumerate(tasks) if task in done)
    await tasks[first]
    return first
