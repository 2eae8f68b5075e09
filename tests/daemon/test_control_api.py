"""The control API over its socket, before a supervisor that only listens."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from spicy_avocado_magic.config.api_key_options import ApiKeyRequest
from spicy_avocado_magic.config.settings import Settings
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.daemon.control_api import (
    ControlServer,
    decode_options,
)
from spicy_avocado_magic.daemon.state_store import StateStore
from spicy_avocado_magic.daemon.supervisor import Supervisor
from spicy_avocado_magic.errors import UsageError
from spicy_avocado_magic.protocol.json_codec import from_json, to_json
from spicy_avocado_magic.protocol.state import ApiKeyState, Phase, State
from spicy_avocado_magic.system.redaction import Redactor
from tests.machine_speed import scaled


class Sharing:
    """Notes which keys are given and taken back."""

    def __init__(self) -> None:
        self.grants: list[ApiKeyRequest] = []

    def states(self) -> tuple[ApiKeyState, ...]:
        """Return a state for each."""
        return tuple(ApiKeyState(name=grant.name) for grant in self.grants)

    def add(self, grant: ApiKeyRequest) -> str:
        """Note a grant."""
        self.grants.append(grant)
        return f"secret of {grant.name}"

    def revoke(self, name: str) -> None:
        """Only what was given can be taken back."""
        if name not in [grant.name for grant in self.grants]:
            raise UsageError("The key is unknown.", "Look again.")
        self.grants = [grant for grant in self.grants if grant.name != name]


class Maker:
    """Stands in for the creation of models."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Path]] = []
        self.error: Exception | None = None
        self.go_on = asyncio.Event()
        self.was_cancelled = asyncio.Event()

    async def create(
        self, name: str, text: str, folder: Path, report: Callable[[str], None]
    ) -> tuple[str, ...]:
        """Report two messages, then wait."""
        self.asked.append((name, text, folder))
        report("one")
        report("two\x1b[2J")
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.was_cancelled.set()
            raise
        if self.error is not None:
            raise self.error
        return ("tiny:latest",)


class Listener:
    """Records the requests of kernels, in place of a supervisor."""

    def __init__(self) -> None:
        self.ending = asyncio.Event()
        self.log: list[str] = []
        self.changes: list[tuple[Mapping[str, Any], bool]] = []
        self.error: Exception | None = None
        self.api_keys = Sharing()
        self.model_builder = Maker()
        self.context = SimpleNamespace(
            redact=Redactor(),
            store=StateStore(State()),
            timeouts=Timeouts().scaled(20),
            log=self.log.append,
        )

    def change(self, given: Mapping[str, Any], *, only: bool) -> tuple[int, set[str]]:
        """Record a change."""
        if self.error is not None:
            raise self.error
        self.changes.append((given, only))
        return len(self.changes), {"port", "context"}

    def undo_change(self, number: int) -> bool:
        """Only the last change can be undone."""
        return number == len(self.changes)

    def request_stop(self, reason: str, *, keep_wanted: bool = False) -> None:
        """Record the stop."""
        self.log.append(f"{reason} {keep_wanted}")
        self.ending.set()


@pytest.fixture
def socket() -> Iterator[Path]:
    """A path short enough for a Unix socket, with something left in its place."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "control.sock"
        path.touch()
        yield path


@pytest.fixture
async def listener(socket: Path) -> AsyncIterator[Listener]:
    """A listener behind a running control API."""
    listening = Listener()
    control = ControlServer(cast("Supervisor", listening))
    await control.start(socket)
    yield listening
    await control.stop()


@pytest.fixture
async def kernel(
    listener: Listener, socket: Path
) -> AsyncIterator[aiohttp.ClientSession]:
    """A client on the socket."""
    connector = aiohttp.UnixConnector(path=str(socket))
    async with aiohttp.ClientSession("http://host", connector=connector) as session:
        yield session


def test_a_socket_left_by_a_dead_host_is_replaced(
    listener: Listener, socket: Path
) -> None:
    """What lies in the way of the socket does not stop the next host."""
    assert socket.is_socket()


async def test_the_state_is_the_boards(
    listener: Listener, kernel: aiohttp.ClientSession
) -> None:
    """A kernel reads everything at once."""
    listener.context.store.update(url="https://x.example")
    async with kernel.get("/state") as response:
        state = from_json(State, await response.json())
    assert state.url == "https://x.example"


async def test_a_transition_is_sent_at_once_and_progress_is_not(
    listener: Listener, kernel: aiohttp.ClientSession
) -> None:
    """What has become ready is shown then, not when a quarter of a second is over."""
    listener.context.timeouts = replace(listener.context.timeouts, state_every_s=3600.0)
    board = listener.context.store
    async with asyncio.timeout(scaled(5)), kernel.get("/events?after=0") as response:
        await response.content.readline()
        board.progress("install", 1, 10)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await response.content.readline()
        board.stage("serve", Phase.READY, "one")
        message = json.loads(await response.content.readline())
        assert [event["text"] for event in message["events"]] == ["one"]
        listener.ending.set()
        board.stage("serve", Phase.READY, "two")
        await response.content.read()


async def test_a_follower_that_leaves_is_no_mistake(
    listener: Listener, kernel: aiohttp.ClientSession
) -> None:
    """The log is not filled with what every `up` does when it is done."""
    noted = asyncio.Event()
    listener.context.log = lambda _text: noted.set()
    async with kernel.get("/events") as response:
        await response.content.readline()
        response.close()
    with pytest.raises(TimeoutError):  # ten heartbeats, none of which can be sent
        async with asyncio.timeout(10 * listener.context.timeouts.heartbeat_s):
            await noted.wait()


async def test_a_follower_gets_what_is_new_and_a_heartbeat(
    listener: Listener, kernel: aiohttp.ClientSession
) -> None:
    """Events after the number that was given, each once, and the end of the host."""
    board = listener.context.store
    board.stage("serve", Phase.STARTING, "one")
    board.stage("serve", Phase.STARTING, "two")
    async with asyncio.timeout(scaled(5)), kernel.get("/events?after=1") as response:
        first = json.loads(await response.content.readline())
        assert [event["text"] for event in first["events"]] == ["two"]
        heartbeat = json.loads(await response.content.readline())
        assert heartbeat["events"] == []
        board.stage("serve", Phase.READY, "three")
        message = heartbeat
        while not message["events"]:
            message = json.loads(await response.content.readline())
        assert [event["text"] for event in message["events"]] == ["three"]
        assert message["state"]["sequence"] == 3
        listener.ending.set()
        await response.content.read()


async def test_a_change_arrives_with_the_types_of_the_settings(
    listener: Listener, kernel: aiohttp.ClientSession
) -> None:
    """JSON's lists are tuples again, and the answer names what differs."""
    given = {"models": ["a"], "engine_env": [["OLLAMA_DEBUG", "1"]], "port": 1}
    async with kernel.post("/up", json={"given": given, "only": True}) as response:
        assert await response.json() == {"change": 1, "changed": ["context", "port"]}
    wanted = {"models": ("a",), "engine_env": (("OLLAMA_DEBUG", "1"),), "port": 1}
    assert listener.changes == [(wanted, True)]
    assert Settings().merged(decode_options(given)).port == 1


async def test_a_change_is_taken_back_by_its_number(
    listener: Listener, kernel: aiohttp.ClientSession
) -> None:
    """An interrupted ``up`` does not undo somebody else's."""
    await change(kernel)
    for number, done in ((7, False), (1, True)):
        async with kernel.post("/withdraw", json={"change": number}) as response:
            assert await response.json() == {"done": done}


async def change(kernel: aiohttp.ClientSession) -> None:
    """Make one change."""
    async with kernel.post("/up", json={"given": {}, "only": False}) as response:
        assert response.status == 200


async def test_keys_are_given_listed_and_taken_back(
    listener: Listener, kernel: aiohttp.ClientSession
) -> None:
    """A grant arrives with its types, a secret is in one response only."""
    grant = ApiKeyRequest(name="ann", rpm=3, models=("tiny",), expires_s=60.0)
    async with kernel.post("/keys", json={"grant": to_json(grant)}) as response:
        assert await response.json() == {"secret": "secret of ann"}
    assert listener.api_keys.grants == [grant]
    async with kernel.get("/keys") as response:
        listed = await response.json()
    assert from_json(ApiKeyState, listed["keys"][0]) == ApiKeyState(name="ann")
    for kinds in ([], ["UsageError"]):
        async with kernel.post("/keys/revoke", json={"name": "ann"}) as response:
            answer = await response.json()
        assert [failure["kind"] for failure in answer.values()] == kinds


async def test_a_grant_that_cannot_be_is_refused(
    listener: Listener, kernel: aiohttp.ClientSession
) -> None:
    """Whatever sends it."""
    for grant in ({"name": "an\nn"}, {"name": "ann", "rpm": "x"}, {}):
        async with kernel.post("/keys", json={"grant": grant}) as response:
            assert response.status == 400
    assert listener.api_keys.grants == []


MAKE = {"name": "mine", "modelfile": "FROM tiny", "folder": "/somewhere"}


async def test_a_model_is_made_while_the_kernel_listens(
    listener: Listener, kernel: aiohttp.ClientSession
) -> None:
    """Progress is repeated, so that silence means a hung daemon."""
    async with (
        asyncio.timeout(scaled(5)),
        kernel.post("/create", json=MAKE) as response,
    ):
        for _ in range(2):
            event = json.loads(await response.content.readline())
            assert event["text"] == "two", "what a terminal obeys got through"
        listener.model_builder.go_on.set()
        *_, last = (await response.content.read()).splitlines()
    assert json.loads(last)["pulled"] == ["tiny:latest"]
    assert listener.model_builder.asked == [("mine", "FROM tiny", Path("/somewhere"))]


async def test_a_failed_model_creation_ends_with_its_error(
    listener: Listener, kernel: aiohttp.ClientSession
) -> None:
    """After the stream has begun, so in its last line."""
    listener.model_builder.error = UsageError("No.", "Yes.")
    listener.model_builder.go_on.set()
    async with (
        asyncio.timeout(scaled(5)),
        kernel.post("/create", json=MAKE) as response,
    ):
        *_, last = (await response.content.read()).splitlines()
    assert json.loads(last)["failure"]["kind"] == "UsageError"


async def test_a_kernel_that_listens_no_more_ends_the_making(
    listener: Listener, kernel: aiohttp.ClientSession
) -> None:
    """An interrupt closes the connection; nothing works on, and it is no mistake."""
    noted = asyncio.Event()
    listener.context.log = lambda _text: noted.set()
    async with kernel.post("/create", json=MAKE) as response:
        await response.content.readline()
        response.close()
    async with asyncio.timeout(scaled(5)):
        await listener.model_builder.was_cancelled.wait()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(10 * listener.context.timeouts.heartbeat_s):
            await noted.wait()


async def test_down_ends_the_host(
    listener: Listener, kernel: aiohttp.ClientSession
) -> None:
    """Whether settings are kept for the next host is the kernel's choice."""
    async with kernel.post("/down", json={"keep_wanted": True}) as response:
        assert response.status == 200
    assert listener.ending.is_set()
    assert listener.log == ["stopped by the user True"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [(UsageError("No.", "Yes."), "UsageError"), (OSError("disk"), "InternalError")],
)
async def test_an_error_is_sent_to_the_kernel_and_logged(
    listener: Listener, kernel: aiohttp.ClientSession, error: Exception, kind: str
) -> None:
    """The cell fails with the host's own words."""
    listener.error = error
    async with kernel.post("/up", json={"given": {}, "only": False}) as response:
        assert response.status == 400
        assert (await response.json())["failure"]["kind"] == kind
    assert len(listener.log) == 1


async def test_a_request_that_makes_no_sense_is_answered(
    kernel: aiohttp.ClientSession,
) -> None:
    """A broken client does not end the host."""
    async with kernel.post("/up", data="{") as response:
        assert response.status == 400
    async with kernel.get("/nothing") as response:
        assert response.status == 404
