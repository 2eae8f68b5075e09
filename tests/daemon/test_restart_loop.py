"""The restart loop: runs, failures, backoff and giving up, driven by events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest

from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.daemon.restart_loop import (
    Readiness,
    RestartLoop,
    backoff_delay_s,
    first_completed,
)
from spicy_avocado_magic.daemon.state_store import StateStore
from spicy_avocado_magic.errors import (
    AvocadoError,
    ComponentFailed,
    EndpointInUse,
    EndpointUnavailable,
    InternalError,
    InvalidToken,
    NetworkUnreachable,
    TunnelFailed,
)
from spicy_avocado_magic.protocol.state import Phase, State
from tests.machine_speed import scaled

QUICK = Timeouts().scaled(500)
SLOW = replace(QUICK, backoff_first_s=60.0, backoff_max_s=60.0)

Act = Callable[[Readiness], Awaitable[None]]


async def watch(ready: Readiness) -> None:
    """Be ready until cancelled."""
    ready.set_ready()
    await asyncio.Event().wait()


def fall(error: Exception, *, rises: bool = False) -> Act:
    """Return a life that fails, ready before or not."""

    async def act(ready: Readiness) -> None:
        if rises:
            ready.set_ready()
        await asyncio.sleep(0)
        ready.set_unready()  # as real components do, before their error is seen
        raise error

    return act


@dataclass
class Bench:
    """A restart loop with scripted runs; after the last one it waits."""

    acts: list[Act]
    policy: Timeouts = QUICK
    runs: int = 0
    ended: int = 0
    now: float = 0.0
    log: list[str] = field(default_factory=list)
    given_up: list[Phase] = field(default_factory=list)
    """What the board showed each time it was given up."""

    def __post_init__(self) -> None:
        self.board = StateStore(State())
        self.loop = RestartLoop(
            "tunnel",
            self.live,
            self.board,
            self.policy,
            log=self.log.append,
            on_given_up=lambda: self.given_up.append(self.shown()),
            clock=lambda: self.now,
        )

    async def live(self, ready: Readiness) -> None:
        """Play the next act."""
        self.runs += 1
        self.board.stage("tunnel", Phase.STARTING, f"life {self.runs}")
        act = self.acts.pop(0) if self.acts else watch
        try:
            await act(ready)
        finally:
            self.ended += 1

    def shown(self) -> Phase:
        """Return the phase that the board shows now."""
        return self.board.snapshot().stage("tunnel").phase

    async def phase(self, wanted: Phase) -> None:
        """Return once the tunnel's stage is in this phase."""
        async with asyncio.timeout(scaled(20)):
            while self.shown() is not wanted:
                await self.board.wait_change()


@contextlib.asynccontextmanager
async def kept(bench: Bench) -> AsyncIterator[asyncio.Task[None]]:
    """Run the restart loop for the length of a block."""
    task = asyncio.create_task(bench.loop.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def up(bench: Bench) -> None:
    """Wait for readiness, but not for ever."""
    async with asyncio.timeout(scaled(20)):
        await bench.loop.ready.wait_ready()


def net() -> NetworkUnreachable:
    """Return a failure of the network."""
    return NetworkUnreachable("No network.", "Look.")


def fell() -> TunnelFailed:
    """Return a failure that is worth another try."""
    return TunnelFailed("It fell.", "Wait.")


async def test_a_life_that_is_ready_is_watched_and_left_alone() -> None:
    """One life is enough as long as it lasts."""
    bench = Bench([])
    async with kept(bench):
        await up(bench)
        assert (bench.runs, bench.ended) == (1, 0)


@pytest.mark.parametrize("rises", [False, True])
async def test_a_permanent_error_is_given_up_at_once(rises: bool) -> None:
    """A failure that only the user can correct is not retried."""
    bench = Bench([fall(InvalidToken("No.", "Paste."), rises=rises)], SLOW)
    async with kept(bench) as task:
        await bench.phase(Phase.FAILED)
        assert bench.runs == 1
        assert not task.done(), "a component given up must wait for renew"
        failure = bench.board.snapshot().failure
        assert failure is not None
        assert failure.kind == "InvalidToken"


async def test_a_component_never_ready_is_given_up_after_the_first_tries() -> None:
    """A first start that cannot work fails soon."""
    bench = Bench([fall(fell()) for _ in range(20)])
    async with kept(bench):
        await bench.phase(Phase.FAILED)
    assert bench.runs == bench.policy.first_start_tries


async def test_a_component_once_ready_gets_the_restart_tries() -> None:
    """A component that worked before is retried longer, with a bound."""
    bench = Bench([fall(fell(), rises=True), *(fall(fell()) for _ in range(20))])
    async with kept(bench):
        await bench.phase(Phase.FAILED)
    assert bench.runs == bench.policy.restart_tries


@pytest.mark.parametrize("was_there", [False, True])
async def test_a_missing_network_is_waited_for_without_limit(was_there: bool) -> None:
    """A tunnel comes up when the network does, whether it ever was up before."""
    many = 2 * QUICK.restart_tries
    bench = Bench([fall(net(), rises=was_there), *(fall(net()) for _ in range(many))])
    async with kept(bench):
        async with asyncio.timeout(scaled(5)):
            while bench.runs < many + 2:
                await bench.board.wait_change()
        await up(bench)


async def test_a_refused_url_is_tried_again_if_it_was_ours_before() -> None:
    """After a lost network the service may take our old session for another's."""
    refused = EndpointInUse("The URL is online (334).", "End the other.")
    bench = Bench([fall(refused, rises=True)])
    async with kept(bench):
        async with asyncio.timeout(scaled(20)):
            while bench.runs < 2:
                await bench.board.wait_change()
    assert bench.runs == 2, "the refused URL was given up"


async def test_a_used_up_monthly_quota_is_not_retried() -> None:
    """However long the tunnel was up before."""
    refused = EndpointUnavailable("The quota is used up (727).", "Wait for the next.")
    bench = Bench([fall(refused, rises=True)])
    async with kept(bench):
        await bench.phase(Phase.FAILED)
    assert bench.runs == 1, "it was tried again"


async def test_new_settings_that_fail_are_given_up_after_the_first_tries() -> None:
    """A failed change is reported soon, though the component worked before."""
    bench = Bench([watch, *(fall(fell()) for _ in range(9))])
    async with kept(bench):
        await up(bench)
        bench.loop.restart(with_new_settings=True)
        await bench.phase(Phase.FAILED)
    assert bench.runs == 1 + QUICK.first_start_tries


def crash_every(bench: Bench, seconds: float) -> Act:
    """Return a life that is ready for this long and then falls."""

    async def act(ready: Readiness) -> None:
        ready.set_ready()
        bench.now += seconds
        ready.set_unready()
        raise fell()

    return act


async def test_five_crashes_in_ten_minutes_are_given_up() -> None:
    """However long each life lasted in between."""
    bench = Bench([], replace(QUICK, crash_window_s=600))
    bench.acts = [crash_every(bench, 149) for _ in range(20)]
    async with kept(bench):
        await bench.phase(Phase.FAILED)
    assert bench.runs == 5, "it was not given up at the fifth crash"


@pytest.mark.parametrize("was_there", [False, True])
async def test_failures_of_the_network_are_not_counted_as_crashes(
    was_there: bool,
) -> None:
    """Ten tries without a network, then a crash, are one crash."""
    bench = Bench([fall(net(), rises=was_there), *(fall(net()) for _ in range(9))])
    bench.acts.append(fall(fell()))
    async with kept(bench):
        async with asyncio.timeout(scaled(5)):
            while bench.runs < 12:
                await bench.board.wait_change()
        await up(bench)


async def test_crashes_that_are_long_ago_are_forgotten() -> None:
    """A crash every few minutes is never given up."""
    bench = Bench([], replace(QUICK, crash_window_s=600))
    many = 2 * QUICK.restart_tries
    bench.acts = [crash_every(bench, 151) for _ in range(many)]
    async with kept(bench):
        async with asyncio.timeout(scaled(5)):
            while bench.runs < many + 1:
                await bench.board.wait_change()
        await up(bench)


async def test_a_long_life_that_was_never_ready_forgets_nothing() -> None:
    """Hanging for minutes is no sign of health."""
    bench = Bench([])

    async def hung(ready: Readiness) -> None:
        bench.now += bench.policy.crash_window_s
        raise fell()

    bench.acts = [hung for _ in range(20)]
    async with kept(bench):
        await bench.phase(Phase.FAILED)
    assert bench.runs == QUICK.first_start_tries


async def test_a_component_that_was_ready_for_long_is_tried_again_at_once() -> None:
    """The first fall of what was well costs no backoff, and is seen all the same."""
    bench = Bench([], replace(SLOW, stable_s=10.0, stable_pause_s=0.0))
    bench.acts = [crash_every(bench, 10.0)]
    async with kept(bench):
        await bench.phase(Phase.BACKOFF)
        await up(bench)
    assert bench.runs == 2


async def test_a_component_that_falls_soon_backs_off() -> None:
    """A loop of crashes does not count as stable."""
    bench = Bench([], replace(SLOW, stable_s=10.0, stable_pause_s=0.0))
    bench.acts = [crash_every(bench, 10.0), crash_every(bench, 9.0)]
    async with kept(bench):
        async with asyncio.timeout(scaled(20)):
            while bench.runs < 2:
                await bench.board.wait_change()
        await bench.phase(Phase.BACKOFF)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await bench.loop.ready.wait_ready()
    assert bench.runs == 2


async def test_an_unexpected_error_is_a_failed_life() -> None:
    """A bug in a component is reported and retried; the loop continues."""
    bench = Bench([fall(RuntimeError("oops"))], SLOW)
    async with kept(bench):
        await bench.phase(Phase.BACKOFF)
        failure = bench.board.snapshot().stage("tunnel").failure
    assert failure is not None
    assert failure.kind == InternalError.__name__
    assert "oops" in failure.problem


async def test_renew_ends_a_running_life_and_begins_the_next() -> None:
    """New settings begin at once."""
    bench = Bench([])
    async with kept(bench):
        await up(bench)
        bench.loop.restart()
        assert bench.board.snapshot().stage("tunnel").phase is Phase.WAITING
        async with asyncio.timeout(scaled(20)):
            await bench.loop.ready.wait_unready()
        await up(bench)
        assert (bench.runs, bench.ended) == (2, 1)


async def test_renew_cuts_a_backoff_short() -> None:
    """The user's next change does not wait for the delay."""
    bench = Bench([fall(fell())], SLOW)
    async with kept(bench):
        await bench.phase(Phase.BACKOFF)
        bench.loop.restart()
        await up(bench)
        assert bench.runs == 2


async def test_a_life_after_renew_backs_off_like_any_other() -> None:
    """One change by the user does not disable later delays."""
    bench = Bench([fall(fell()), fall(fell())], SLOW)
    async with kept(bench):
        await bench.phase(Phase.BACKOFF)
        bench.loop.restart()
        await bench.phase(Phase.BACKOFF)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await bench.loop.ready.wait_ready()
        assert bench.runs == 2


async def test_renew_revives_what_was_given_up_with_its_failures_forgotten() -> None:
    """The next ``up`` tries again, as often as the first."""
    tries = QUICK.first_start_tries
    bench = Bench([fall(fell()) for _ in range(2 * tries)])
    async with kept(bench):
        await bench.phase(Phase.FAILED)
        bench.loop.restart()
        await bench.phase(Phase.FAILED)
        assert bench.runs == 2 * tries
        assert len(bench.given_up) == 2, "it was not reported each time"
        assert Phase.FAILED not in bench.given_up, "it was shown before it was reported"
        bench.loop.restart()
        await up(bench)
        assert len(bench.given_up) == 2, "what is up was given up"


async def test_a_life_that_returns_is_followed_by_the_next() -> None:
    """Something it depends on fell: no failure, no delay."""

    async def returns(ready: Readiness) -> None:
        ready.set_ready()

    bench = Bench([returns for _ in range(10)], SLOW)
    async with kept(bench):
        async with asyncio.timeout(scaled(20)):
            while bench.runs < 11:
                await bench.board.wait_change()
        await up(bench)
    assert not bench.log


async def test_cancelling_ends_the_life_and_leaves_no_task() -> None:
    """A host that ends leaves nothing running."""
    bench = Bench([])
    async with kept(bench) as task:
        await up(bench)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert bench.ended == 1
        assert not bench.loop.ready.is_up
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancelling_works_in_backoff_and_after_giving_up() -> None:
    """A waiting restart loop can be cancelled too."""
    for act, phase in (
        (fall(fell()), Phase.BACKOFF),
        (fall(InvalidToken("No.", "Paste.")), Phase.FAILED),
    ):
        bench = Bench([act], SLOW)
        async with kept(bench) as task:
            await bench.phase(phase)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


@pytest.mark.parametrize("error", [fell(), None])
async def test_cancelling_holds_though_the_life_ends_in_another_way(
    error: AvocadoError | None,
) -> None:
    """A component that fails in its clean-up or returns does not undo a cancel."""

    async def stubborn(ready: Readiness) -> None:
        ready.set_ready()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if error is not None:
                raise error from None

    bench = Bench([stubborn], SLOW)
    async with kept(bench) as task:
        await up(bench)
        task.cancel()
        await asyncio.wait([task], timeout=1)
        assert task.cancelled(), "the loop keeps running"
        assert bench.runs == 1


def test_delays_double_up_to_a_bound() -> None:
    """Backoff starts short, doubles and stays within its bound, with its jitter."""
    policy = Timeouts()
    delays = [backoff_delay_s(policy, failures, 0.0) for failures in range(1, 9)]
    assert delays[:4] == [0.5, 1.0, 2.0, 4.0]
    assert delays[-1] == policy.backoff_max_s - policy.backoff_jitter_s
    assert backoff_delay_s(policy, 10_000, 1.0) == policy.backoff_max_s


async def test_readiness_can_be_awaited_both_ways() -> None:
    """Who depends on a component learns of its rise and of its fall."""
    ready = Readiness()
    await ready.wait_unready()
    ready.set_ready()
    await ready.wait_ready()
    assert ready.is_up
    ready.set_unready()
    await ready.wait_unready()
    assert not ready.is_up


async def test_a_race_returns_the_first_and_cancels_the_others() -> None:
    """What lost a race does not run on."""
    lost = asyncio.Event()

    async def loser() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            lost.set()

    assert await first_completed(loser(), asyncio.sleep(0)) == 1
    assert lost.is_set()


async def test_a_race_raises_the_error_of_its_winner() -> None:
    """A contender that fails first fails the race."""

    async def fails() -> None:
        raise ComponentFailed("It fell.", "Wait.")

    with pytest.raises(ComponentFailed):
        await first_completed(asyncio.Event().wait(), fails())
