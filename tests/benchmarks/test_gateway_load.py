"""The load's own eyes: what it counts and times must have happened."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from .gateway_cases import end_module, start_module
from .gateway_key import engine_counts
from .gateway_load import Tree, first_tokens, held, short_requests, streams
from .gateway_wire import Crowd, Target, answer_size, chat_body

STAMP = b"t=%020d;"


@pytest.fixture
def engine() -> Iterator[Target]:
    """A running engine stand-in, asked directly."""
    process = start_module("fast_engine")
    assert process.stdout is not None
    port = int(process.stdout.readline())
    yield Target(port=port, key="", pid=process.pid)
    end_module(process)


def speak(*pieces: bytes) -> tuple[Target, threading.Thread]:
    """Serve one caller: each piece as an answer to whatever it sends next."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as caller:
            for piece in pieces:
                if caller.recv(65536):
                    caller.sendall(piece)
            caller.recv(65536)

    thread = threading.Thread(target=serve)
    thread.start()
    target = Target(port=listener.getsockname()[1], key="k", pid=os.getpid())
    return target, thread


@pytest.mark.parametrize(
    ("received", "size"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Le", None),
        (b"HTTP/1.1 200 OK\r\ncontent-length:  2\r\n\r\n", 41),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP", 40),
        (b"HTTP/1.1 200 OK\r\n\r\n2\r\nok\r\n0\r\n", None),
        (b"HTTP/1.1 200 OK\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP", 31),
    ],
)
def test_an_answer_ends_where_its_head_says(received: bytes, size: int | None) -> None:
    """An answer cut short is not counted, and none takes in the next one."""
    assert answer_size(received) == size, f"{received!r} is {answer_size(received)}"


def test_every_chunk_is_counted_once_however_it_is_cut() -> None:
    """Stamps that come in halves, or several at once, are each one delay."""
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    two = STAMP % 1 + STAMP % 2
    target, thread = speak(head, two[:30], two[30:], STAMP % 3 + b"." * 40, STAMP % 4)
    crowd = Crowd(target)
    caller = crowd.connect()
    for expected in (0, 1, 2, 3, 4):
        crowd.ask(caller, b"{}")
        while len(crowd.delays_ms) < expected or not (expected or caller.tail):
            crowd.run(0.01)
        counted = len(crowd.delays_ms)
        assert counted == expected, f"{counted} chunks counted, {expected} were sent"
    assert crowd.begun == 1, "one stream began"
    crowd.close()
    thread.join()


def test_a_refusal_is_no_stream() -> None:
    """A proxy that refuses would be the fastest of all."""
    target, thread = speak(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
    crowd = Crowd(target)
    crowd.ask(crowd.connect(), b"{}")
    with pytest.raises(ConnectionError, match="refused"):
        crowd.run(1)
    crowd.close()
    thread.join()


@pytest.mark.alone
def test_streams_come_at_the_rate_that_was_asked_for(engine: Target) -> None:
    """The engine stand-in sends what the prompt says, and the load sees all of it."""
    seen = streams(engine, count=8, rate=50.0, seconds=0.5, probe_s=0.1)
    assert 0.3 < seen["delivered"] < 3, f"{seen['delivered']:.0%} of the chunks came"
    assert all(0 < delay < 1000 for delay in seen["delays_ms"]), seen["delays_ms"]
    assert seen["cpu_us_per_chunk"] > 0, "the engine's own CPU was not seen"
    assert seen["waits_ms"], "no first token was timed beside the streams"


def test_the_other_cases_see_what_they_ask_for(engine: Target) -> None:
    """First tokens are timed one by one, short answers counted, streams held."""
    first = first_tokens(engine, most=5, seconds=10)["waits_ms"]
    assert len(first) == 5, f"{len(first)} of 5 first tokens"
    before = engine_counts(engine.port)[1]
    short = short_requests(engine, connections=2, seconds=0.2)
    asked = engine_counts(engine.port)[1] - before
    assert 0 < short["rps"] * 0.2 <= asked, f"{short['rps']} a second of {asked}"
    assert held(engine, count=20)["kib_per_stream"] >= 0, "memory cannot shrink here"


def test_a_chat_asks_for_the_chunks_it_names(engine: Target) -> None:
    """A stream of three chunks ends after the third."""
    crowd = Crowd(engine)
    caller = crowd.connect()
    crowd.ask(caller, chat_body(chunks=3, rate=200))
    while not crowd.begun or engine_counts(engine.port)[0]:
        crowd.run(0.01)
    crowd.run(0)
    assert len(crowd.delays_ms) == 3, f"{len(crowd.delays_ms)} of 3 chunks"
    crowd.close()


def test_cpu_and_memory_are_those_of_the_whole_tree() -> None:
    """A proxy with workers is measured with them."""
    burn = "import time\nwhile time.process_time() < 0.3: pass\n"
    script = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {burn + 'input()'!r}],"
        " stdin=subprocess.PIPE)\n"
        "print(flush=True)\n"
        "input()\n"
        "child.communicate(b'\\n')\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    tree = Tree(parent.pid)
    # The test's own time-out ends this where the child's 0.3 s are not seen.
    while tree.cpu_s() < 0.3:
        time.sleep(0.01)
    children = len(psutil.Process(parent.pid).children())
    assert children == 1, f"{children} children"
    alone = psutil.Process(parent.pid).memory_info().rss
    assert tree.rss_bytes() > alone, "the child's memory is not seen"
    parent.communicate(b"\n")
