"""Several notebooks behind one URL: three hosts share the work, one is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Self

import pytest
import requests

from spicy_avocado_magic import status
from spicy_avocado_magic.client.handle import Avocado
from spicy_avocado_magic.client.state_text import status_text
from spicy_avocado_magic.config.settings import Endpoints
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.errors import EndpointUnavailable, UsageError
from spicy_avocado_magic.protocol.pool import MEMBER_HEADER
from spicy_avocado_magic.protocol.state import State
from tests.machine_speed import scaled

from .home import Home, new_home

DOMAIN = "pool.ngrok.app"
KEY = "one-key-for-all-of-the-pool"
MESSAGES = [{"role": "user", "content": "Hello there"}]
TOKEN = "token-for-the-loopback-edge-0001"
QUICK = Timeouts(
    backoff_first_s=0.05, backoff_jitter_s=0.05, heartbeat_s=0.2, probe_s=5.0
)


@dataclass
class Notebook:
    """One of several, with a home of its own."""

    home: Home
    sources: Endpoints
    enter: Callable[[], None]
    """Lets what this test calls act in this notebook's home."""

    def up(self, *models: str, **options: object) -> Avocado:
        """Join the pool with these models, unless the options say otherwise."""
        self.enter()
        pool: dict[str, object] = {"pool": True, "domain": DOMAIN, "api_key": KEY}
        return self.home.up(
            *models,
            sources=self.sources,
            policy=QUICK,
            **{"token": TOKEN, **pool, **options},  # type: ignore[arg-type]
        )

    def state(self) -> State:
        """Return what its host says of itself."""
        self.enter()
        state = status()
        assert state is not None, "the host is gone"
        return state


Notebooks = Callable[[], Notebook]


@pytest.fixture
def notebook(world: Endpoints, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebooks]:
    """Open notebooks, each as on a machine of its own; at the end nothing is left."""
    with contextlib.ExitStack() as stack:

        def open_one() -> Notebook:
            set_here: dict[str, str] = {}
            home = stack.enter_context(new_home(set_here.__setitem__))

            def enter() -> None:
                for name, value in set_here.items():
                    monkeypatch.setenv(name, value)

            stack.callback(enter)  # before its home is left, it must be current
            return Notebook(home, world, enter)

        yield open_one


@dataclass
class Load:
    """Clients that keep calling one URL, each request on a connection of its own."""

    url: str
    answered: Counter[str] = field(default_factory=Counter)
    """Good answers, by the member that gave them."""
    failed: list[tuple[float, str]] = field(default_factory=list)
    """Those that failed: the monotonic time at which each had begun, and how."""
    counting: threading.Lock = field(default_factory=threading.Lock)
    done: threading.Event = field(default_factory=threading.Event)
    clients: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.clients = [threading.Thread(target=self._call) for _ in range(4)]
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        for client in self.clients:
            client.join()

    def count(self) -> Counter[str]:
        """Return what was answered up to now."""
        with self.counting:
            return self.answered.copy()

    def wait(self, is_enough: Callable[[], bool], within_s: float = scaled(30)) -> None:
        """Go on until it is enough."""
        deadline = time.monotonic() + within_s
        while not is_enough():
            assert time.monotonic() < deadline, f"{self.answered}, {self.failed}"
            time.sleep(0.02)

    def _call(self) -> None:
        while not self.done.is_set():
            began = time.monotonic()
            try:
                answer = requests.post(
                    f"{self.url}/v1/chat/completions",
                    json={"model": "tiny", "messages": MESSAGES, "max_tokens": 2},
                    headers={"Authorization": f"Bearer {KEY}"},
                    timeout=scaled(10),
                )
                answer.raise_for_status()
            except requests.RequestException as error:
                self.failed.append((began, str(error)))
            else:
                with self.counting:
                    self.answered[answer.headers[MEMBER_HEADER]] += 1


def _wait_for(
    notebooks: list[Notebook],
    is_there: Callable[[State], bool],
    within_s: float = scaled(15),
) -> None:
    deadline = time.monotonic() + within_s
    while not all(is_there(notebook.state()) for notebook in notebooks):
        shown = [status_text(notebook.state()) for notebook in notebooks]
        assert time.monotonic() < deadline, "\n\n".join(shown)
        time.sleep(0.05)


def test_three_share_the_work_and_serve_on_when_one_is_killed(
    notebook: Notebooks,
) -> None:
    """Nobody notices who joins; of who is killed, only what is under way is lost."""
    members = [notebook()]
    url = members[0].up("tiny").url
    with Load(url) as load:
        for _ in range(2):
            members.append(notebook())
            assert members[-1].up("tiny").url == url, "it is not behind the one URL"
        states = [member.state() for member in members]
        before = {state.members[0].id: state.requests for state in states}
        answered_before = load.count()
        load.wait(lambda: all(load.answered[id_] >= 20 for id_ in before))
        assert not load.failed, f"failed though nothing was killed: {load.failed}"
        killed = members.pop()
        killed_id = killed.state().members[0].id
        killed_at = time.monotonic()
        os.kill(killed.state().pid, signal.SIGKILL)
        assert not killed.home.wait_no_processes(), "the kill left something"
        over_at = time.monotonic()
        enough = {id_: load.answered[id_] + 20 for id_ in before if id_ != killed_id}
        load.wait(lambda: all(load.answered[id_] >= n for id_, n in enough.items()))
    outside = [
        failed for failed in load.failed if not killed_at - 1 < failed[0] < over_at
    ]
    assert not outside, f"{outside} beside {load.answered}"
    for own in members:
        member = own.state().members[0].id
        served = own.state().requests - before[member]
        known = load.answered[member] - answered_before[member]
        # Some were under way when the counting began, or when the kill cut them.
        spare = len(load.clients) + len(load.failed)
        assert abs(served - known) <= spare, f"{member} counted {served} of {known}"


def test_members_know_each_other(notebook: Notebooks) -> None:
    """Each shows all, with their models; those that are alike are no warning."""
    members = [notebook(), notebook()]
    for own in members:
        own.up("tiny")
    _wait_for(
        members, lambda state: [m.models for m in state.members] == [("tiny",)] * 2
    )
    ids = [[member.id for member in own.state().members] for own in members]
    assert ids[0] == ids[1][::-1], "each is not the first in its own list"
    assert not any(own.state().warnings for own in members), "equal members differ"


def test_status_warns_where_models_differ(notebook: Notebooks) -> None:
    """Each of the two warns, and shows both members with their models."""
    members = [notebook(), notebook()]
    members[0].up("tiny")
    members[1].up("other")
    _wait_for(members, lambda state: bool(state.warnings))
    text = status_text(members[0].state())
    assert "serve different models" in text
    assert "(this one): tiny" in text
    assert ": other, answered" in text
    members[1].up("tiny", only=True)
    _wait_for(members, lambda state: not state.warnings)


def test_another_key_is_refused_and_nobody_is_disturbed(notebook: Notebooks) -> None:
    """The notebook with it gets an error, and leaves the URL again."""
    first, second = notebook(), notebook()
    avocado = first.up("tiny")
    with pytest.raises(EndpointUnavailable, match="different key"):
        second.up("tiny", api_key="quite-another-key-than-theirs")
    assert first.state().is_ready, "the pool fell with the notebook of another key"
    with Load(avocado.url) as load:
        load.wait(lambda: load.answered.total() >= 20)
    assert not load.failed, "the notebook of another key is still behind the URL"


def test_a_second_up_without_pool_says_how_to_share_the_url(
    notebook: Notebooks,
) -> None:
    """The service's 334 names both ways out; it holds in either order."""
    first, second = notebook(), notebook()
    first.up("tiny")
    with pytest.raises(EndpointUnavailable, match="334") as refused:
        second.up("tiny", pool=False)
    assert "--pool" in refused.value.remedy
    assert "--domain" in refused.value.remedy
    assert first.state().is_ready


def test_a_plan_without_pooling_is_an_error(notebook: Notebooks) -> None:
    """The service's own refusal becomes a sentence with a way out."""
    with pytest.raises(EndpointUnavailable, match="18019") as refused:
        notebook().up("tiny", token="unpooled-account-of-the-edge-001")
    assert "--pool" in refused.value.remedy


def test_a_pool_without_a_key_of_ones_own_is_not_begun(notebook: Notebooks) -> None:
    """A key that each made for itself would be another one in each."""
    with pytest.raises(UsageError) as refused:
        notebook().up("tiny", api_key="")
    assert "--api-key" in refused.value.remedy
