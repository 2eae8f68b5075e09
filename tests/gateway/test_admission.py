"""Places before the engine and memory for bodies: shared, and bounded."""

from __future__ import annotations

import asyncio

import pytest

from spicy_avocado_magic.gateway.admission import AdmissionQueue
from spicy_avocado_magic.gateway.error_responses import ErrorResponse
from tests.machine_speed import scaled

from .conftest import bounds


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_places_are_given_until_there_are_no_more() -> None:
    """Who comes later waits, and has the place that is given back."""
    places = AdmissionQueue(bounds(concurrent=2))
    await places.acquire("a")
    await places.acquire("a")
    third = asyncio.create_task(places.acquire("a"))
    await settle()
    assert (places.active, places.queued) == (2, 1)
    places.release()
    await third
    assert (places.active, places.queued) == (2, 0)


async def test_nobody_overtakes_those_who_wait() -> None:
    """A place that is free belongs to the queue first."""
    places = AdmissionQueue(bounds(concurrent=1))
    await places.acquire("a")
    second = asyncio.create_task(places.acquire("a"))
    await settle()
    places.release()
    third = asyncio.create_task(places.acquire("a"))
    await settle()
    assert second.done(), "who waited was overtaken"
    assert not third.done(), "two have the one place"
    places.release()
    await third


async def test_a_request_beyond_the_queue_gets_a_retry_after() -> None:
    """The queue is bounded: 429 with Retry-After at once."""
    places = AdmissionQueue(bounds(concurrent=1, queue=1))
    await places.acquire("a")
    waiting = asyncio.create_task(places.acquire("a"))
    await settle()
    with pytest.raises(ErrorResponse) as caught:
        await places.acquire("a")
    assert caught.value.status == 429
    assert int(caught.value.headers["Retry-After"]) > 0
    waiting.cancel()
    await asyncio.wait([waiting])
    assert places.queued == 0, "who left still waits"


async def test_without_a_queue_everybody_is_refused_at_once() -> None:
    """A bound of 0 waiting requests is one."""
    places = AdmissionQueue(bounds(concurrent=1, queue=0))
    await places.acquire("a")
    with pytest.raises(ErrorResponse):
        await places.acquire("b")


async def test_who_waits_too_long_is_refused() -> None:
    """429, and the place in the queue is free again."""
    places = AdmissionQueue(bounds(concurrent=1, queue_wait_s=0.01))
    await places.acquire("a")
    with pytest.raises(ErrorResponse) as caught:
        await places.acquire("a")
    assert caught.value.status == 429
    assert places.queued == 0, "who was refused still waits"
    places.release()
    assert places.active == 0, "a place was given to nobody"


async def test_callers_have_turns() -> None:
    """One who asks once is not behind all that another asks for."""
    places = AdmissionQueue(bounds(concurrent=1))
    await places.acquire("greedy")
    order: list[str] = []

    async def wait(caller: str) -> None:
        await places.acquire(caller)
        order.append(caller)

    tasks = [asyncio.create_task(wait("greedy")) for _ in range(4)]
    await settle()
    tasks.append(asyncio.create_task(wait("modest")))
    await settle()
    for _ in tasks:
        places.release()
        await settle()
    assert order == ["greedy", "modest", "greedy", "greedy", "greedy"]
    assert places.active == 1, "the last one has no place"


async def test_a_full_queue_evicts_for_the_key_with_fewer_requests() -> None:
    """The latest of the greediest is sent away, never the other way round."""
    places = AdmissionQueue(bounds(concurrent=1, queue=3))
    await places.acquire("greedy")
    greedy = [asyncio.create_task(places.acquire("greedy")) for _ in range(3)]
    await settle()
    modest = asyncio.create_task(places.acquire("modest"))
    await settle()
    assert [task.done() for task in greedy] == [False, False, True]
    with pytest.raises(ErrorResponse) as caught:
        await greedy[2]
    assert caught.value.status == 429
    with pytest.raises(ErrorResponse):
        await places.acquire("greedy")
    assert places.queued == 3, "the queue grew or shrank"
    for _ in range(3):
        places.release()
        await settle()
    assert modest.done(), "who had less in the queue was not served"


async def test_a_turn_that_comes_as_its_owner_leaves_goes_to_the_next() -> None:
    """A place is never lost."""
    places = AdmissionQueue(bounds(concurrent=1))
    await places.acquire("a")
    leaver = asyncio.create_task(places.acquire("a"))
    stayer = asyncio.create_task(places.acquire("a"))
    await settle()
    places.release()
    leaver.cancel()
    await asyncio.wait([leaver])
    async with asyncio.timeout(scaled(1)):
        await stayer
    assert places.active == 1, "a place was lost or made"


async def test_who_is_sent_away_as_it_leaves_takes_nobodys_place() -> None:
    """Its cancellation does not give back what it never had."""
    places = AdmissionQueue(bounds(concurrent=1, queue=2))
    await places.acquire("greedy")
    greedy = [asyncio.create_task(places.acquire("greedy")) for _ in range(2)]
    await settle()
    modest = asyncio.create_task(places.acquire("modest"))
    await asyncio.sleep(0)
    greedy[1].cancel()
    await asyncio.wait([greedy[1]])
    assert (places.active, places.queued) == (1, 2)
    for task in (greedy[0], modest):
        task.cancel()
    await asyncio.wait([greedy[0], modest])


def test_bodies_take_what_there_is_and_give_it_back() -> None:
    """The largest alone may have all; what is over is 429."""
    places = AdmissionQueue(bounds(bodies_bytes=100))
    with places.reserve() as hold:
        hold.grow(60)
        hold.grow(50)
        assert places.reserved_bytes == 60, "a smaller figure shrinks it"
        hold.grow(100)
        with pytest.raises(ErrorResponse) as caught:
            hold.grow(101)
        assert caught.value.status == 429
        assert int(caught.value.headers["Retry-After"]) > 0
        assert places.reserved_bytes == 100, "a refused growth was counted"
    assert places.reserved_bytes == 0, "memory was not given back"


def test_small_bodies_fit_beside_any_number_of_large_ones() -> None:
    """Each has at most half of what the others leave."""
    places = AdmissionQueue(bounds(bodies_bytes=100))
    with places.reserve() as first, places.reserve() as second:
        first.grow(50)
        with pytest.raises(ErrorResponse):
            second.grow(26)
        second.grow(25)
        with places.reserve() as small:
            small.grow(10)
        with pytest.raises(ErrorResponse):
            first.grow(51)


async def test_each_turn_is_for_one() -> None:
    """A place that is given back goes to one of many that wait, not to two."""
    places = AdmissionQueue(bounds(concurrent=1))
    await places.acquire("a")
    waiting = [asyncio.create_task(places.acquire("a")) for _ in range(3)]
    await settle()
    for count in range(1, 4):
        places.release()
        await settle()
        assert [task.done() for task in waiting].count(True) == count
        assert places.active == 1, "more have a place than there are"


async def test_bounds_that_change_hold_for_the_next() -> None:
    """Fewer slots are not granted again, and more do not bypass the queue."""
    places = AdmissionQueue(bounds(concurrent=2))
    await places.acquire("a")
    await places.acquire("a")
    waiting = asyncio.create_task(places.acquire("a"))
    await settle()
    places.limits = bounds(concurrent=1)
    places.release()
    await settle()
    assert not waiting.done(), "a place was given that is no more"
    places.limits = bounds(concurrent=2)
    late = asyncio.create_task(places.acquire("b"))
    await settle()
    assert not late.done(), "who waits was overtaken"
    places.release()
    await settle()
    assert (waiting.done(), late.done(), places.active) == (True, True, 2)


async def test_who_leaves_takes_nobody_along() -> None:
    """Others of the same caller wait on, and the evicted request gets 429."""
    places = AdmissionQueue(bounds(concurrent=1))
    await places.acquire("a")
    stayer, leaver = (asyncio.create_task(places.acquire("a")) for _ in range(2))
    await settle()
    leaver.cancel()
    await asyncio.wait([leaver])
    assert leaver.cancelled(), "it was refused, not cancelled"
    places.release()
    async with asyncio.timeout(scaled(1)):
        await stayer


async def test_who_has_just_left_is_neither_served_nor_sent_away() -> None:
    """Its turn is over already in the moment before it wakes."""
    places = AdmissionQueue(bounds(concurrent=1, queue=2))
    await places.acquire("a")
    leaver, stayer = (asyncio.create_task(places.acquire("a")) for _ in range(2))
    await settle()
    leaver.cancel()
    places.release()
    async with asyncio.timeout(scaled(1)):
        await stayer
    greedy = [asyncio.create_task(places.acquire("a")) for _ in range(2)]
    await settle()
    greedy[1].cancel()
    for _ in range(2):
        asyncio.get_running_loop().call_soon(places.release)
    async with asyncio.timeout(scaled(1)):
        await places.acquire("b")  # in this very moment, so not as a task
    assert greedy[0].done(), "who was first in the queue was not served"


async def test_the_last_of_a_caller_may_leave_as_its_turn_comes() -> None:
    """Its place is free for the next, and nothing of it is left."""
    places = AdmissionQueue(bounds(concurrent=1))
    await places.acquire("a")
    leaver = asyncio.create_task(places.acquire("b"))
    await settle()
    leaver.cancel()
    places.release()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    assert (places.active, places.queued) == (0, 0)


async def test_a_request_is_evicted_only_for_a_key_with_fewer() -> None:
    """Else two callers would push each other out for ever."""
    places = AdmissionQueue(bounds(concurrent=1, queue=3))
    await places.acquire("a")
    tasks = [asyncio.create_task(places.acquire(name)) for name in "aab"]
    await settle()
    with pytest.raises(ErrorResponse):
        await places.acquire("b")
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert places.queued == 0, "who left still waits"
