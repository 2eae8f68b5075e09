"""Models as a component: one is used while the next one comes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from spicy_avocado_magic.daemon.components import model_plans
from spicy_avocado_magic.engine.hardware.gguf import HEAD_BYTES, read_architecture
from spicy_avocado_magic.engine.hardware.memory_fit import (
    AvailableMemory,
    ContextDemand,
    cache_bytes,
)
from spicy_avocado_magic.protocol.state import Phase, State
from spicy_avocado_magic.rehearsal.fake_downloads.tiny_gguf import tiny_gguf

from ..hub import proxied_hub
from ..model_world import (
    ENGINE_CONTEXT,
    OURS,
    EngineAtHand,
    Models,
    NoLog,
    Session,
    progress_of,
    running_engine,
    serving,
)

ENGINES = ("Go-http-client", "ollama/", "Python/")
"""How the pulls of real engines and the stand-in name themselves."""


@pytest.fixture
async def models() -> AsyncIterator[Models]:
    """Serve several models."""
    registry = Models()
    async with serving(registry.application()) as registry.address:
        yield registry


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EngineAtHand]:
    """Run the stand-in engine."""
    async with running_engine(None, tmp_path) as at_hand:
        yield at_hand


@pytest.fixture
async def real_engine(real_ollama: Path, tmp_path: Path) -> AsyncIterator[EngineAtHand]:
    """Run each real engine."""
    async with running_engine(real_ollama, tmp_path) as at_hand:
        yield at_hand


def is_usable(state: State, name: str) -> bool:
    """Return whether a model may be used and the first one is loaded."""
    phases = {model.name: model.phase for model in state.models}
    is_warm = state.stage("warm").phase is Phase.READY
    return is_warm and phases[name] is Phase.READY


async def check_first_is_used_while_second_comes(
    session: Session, models: Models
) -> None:
    """Hold the second model's weights; chat with the first; let the second come."""
    models.held["two"] = asyncio.Event()
    async with session.running():
        await session.until(lambda state: is_usable(state, "one"))
        await models.reached.wait()
        assert await session.chat("one") == 200, "the first model is not usable"
        assert session.served == ("one",), "a model that is not here is served"
        assert await session.chat("two") == 503, (
            "a model that is being pulled is not listed"
        )
        state = session.board.snapshot()
        assert not session.ready.is_up, "ready before all models are"
        pull = state.stage("pull")
        assert pull.phase is Phase.STARTING
        assert pull.detail.startswith("downloading two:latest"), pull.detail
        models.held["two"].set()
        await session.ready.wait_ready()
        for name in ("one", "two"):
            assert await session.chat(name) == 200, f"{name} is not usable"
        assert session.board.snapshot().stage("pull").phase is Phase.READY


async def test_the_first_model_is_used_while_the_second_comes(
    tmp_path: Path, engine: EngineAtHand, models: Models
) -> None:
    """Nobody waits for forty gigabytes to use the four that are here."""
    session = Session(tmp_path, engine, models.address, ("one", "two"))
    await check_first_is_used_while_second_comes(session, models)


async def test_a_real_engine_serves_the_first_model_while_the_second_comes(
    tmp_path: Path, real_engine: EngineAtHand, models: Models
) -> None:
    """The same on each real engine."""
    session = Session(tmp_path, real_engine, models.address, ("one", "two"))
    await check_first_is_used_while_second_comes(session, models)


async def check_next_session_pulls_nothing(
    folder: Path, executable: Path | None, models: Models
) -> None:
    """Bring models into one folder in two sessions, each with its own engine."""
    names = ("tiny", "hf.co/somebody/Tiny-GGUF:Q4_K_M")

    async def use() -> str:
        async with running_engine(executable, folder) as engine:
            session = Session(folder, engine, models.address, names, rehearsal=True)
            async with session.running():
                await session.ready.wait_ready()
                for name in names:
                    assert await session.chat(name) == 200, f"{name} is not usable"
        return session.board.snapshot().stage("pull").detail

    assert "downloaded" in await use()
    assert models.weights_asked(OURS), "nothing was fetched by us"
    models.asked.clear()
    assert "already on disk" in await use()
    assert models.asked == [], "the second session asked for blobs"


async def test_a_folder_that_outlives_the_session_pulls_nothing(
    tmp_path: Path, models: Models
) -> None:
    """``--models-dir`` on a mounted drive, with a model of hf.co among them."""
    await check_next_session_pulls_nothing(tmp_path, None, models)


async def test_a_real_engine_pulls_nothing_from_a_folder_that_outlives_the_session(
    tmp_path: Path, real_ollama: Path, models: Models
) -> None:
    """The same on each real engine."""
    await check_next_session_pulls_nothing(tmp_path, real_ollama, models)


async def check_engine_pulls_what_we_may_not(session: Session, models: Models) -> None:
    """Refuse blobs to us; the engine's own pulls bring them, one after the other."""
    models.only_for_engines = True
    models.held["one"] = asyncio.Event()
    async with session.running():
        await models.reached.wait()
        ours = {model for model, _, agent in models.asked if agent.startswith(OURS)}
        assert ours == {"one"}, "two pulls at the same time"
        models.held["one"].set()
        await session.ready.wait_ready()
        for name in ("one", "two"):
            assert await session.chat(name) == 200, f"{name} is not usable"
    by_engine = [m for agent in ENGINES for m in models.weights_asked(agent)]
    assert {"one", "two"} <= set(by_engine)
    state = session.board.snapshot()
    progress = state.stage("pull").progress
    assert progress is not None, "the engine's own pull shows no progress"
    assert progress.done_bytes == progress.total_bytes > 600_000


async def test_what_we_may_not_fetch_the_engine_pulls(
    tmp_path: Path, engine: EngineAtHand, models: Models
) -> None:
    """A registry that lets only engines in works, never two pulls at once."""
    session = Session(tmp_path, engine, models.address, ("one", "two"))
    await check_engine_pulls_what_we_may_not(session, models)


async def test_a_real_engine_pulls_what_we_may_not_fetch(
    tmp_path: Path, real_engine: EngineAtHand, models: Models
) -> None:
    """The same on each real engine."""
    session = Session(tmp_path, real_engine, models.address, ("one", "two"))
    await check_engine_pulls_what_we_may_not(session, models)


async def test_a_fall_of_the_engine_does_not_stop_the_fetching(
    tmp_path: Path, engine: EngineAtHand, models: Models
) -> None:
    """The second model goes on coming, and the first is offered again."""
    models.held["two"] = asyncio.Event()
    session = Session(tmp_path, engine, models.address, ("one", "two"))
    async with session.running():
        await session.until(lambda state: is_usable(state, "one"))
        await models.reached.wait()
        session.engine_ready.set_unready()
        await asyncio.sleep(0)
        session.engine_ready.set_ready()
        models.held["two"].set()
        await session.ready.wait_ready()
        assert await session.chat("two") == 200
    assert models.weights_asked(OURS) == ["one", "two"], "a blob was asked for twice"


async def test_blobs_come_before_there_is_an_engine(
    tmp_path: Path, engine: EngineAtHand, models: Models
) -> None:
    """The archive and the model arrive side by side."""
    session = Session(tmp_path, engine, models.address, ("one", "two"))
    async with session.running(engine_is_up=False):
        state = await session.until(
            lambda state: state.stage("pull").detail == "downloaded, waiting for Ollama"
        )
        assert state.models[0].phase is Phase.STARTING, "ready without an engine"
        session.engine_ready.set_ready()
        await session.ready.wait_ready()
        assert await session.chat("two") == 200


async def test_what_was_here_before_is_not_called_fetched(
    tmp_path: Path, engine: EngineAtHand, models: Models
) -> None:
    """While the engine starts, a model on disk is reported as such."""
    session = Session(tmp_path, engine, models.address, ("one",))
    async with session.running():
        await session.ready.wait_ready()
    again = Session(tmp_path, engine, models.address, ("one",))
    async with again.running(engine_is_up=False):
        state = await again.until(
            lambda state: "waiting for Ollama" in state.stage("pull").detail
        )
    assert state.stage("pull").detail == "already on disk, waiting for Ollama"


async def test_progress_never_runs_backwards_over_models_and_tries(
    tmp_path: Path, engine: EngineAtHand, models: Models
) -> None:
    """A try that failed leaves its bytes counted; the total is that of all models."""
    models.held["two"] = asyncio.Event()
    session = Session(tmp_path, engine, models.address, ("one", "two"))
    states: list[State] = []
    async with session.running():
        while not session.ready.is_up:
            await session.board.wait_change()
            states.append(state := session.board.snapshot())
            if is_usable(state, "one") and not models.held["two"].is_set():
                models.broken.add("two")
                models.held["two"].set()
            if state.stage("pull").phase is Phase.BACKOFF:
                models.broken.clear()
    steps = list(progress_of(states))
    assert any(state.stage("pull").phase is Phase.BACKOFF for state in states)
    assert steps == sorted(steps), "progress ran backwards"
    assert len({total for _, total in steps}) == 1, "the total changed on the way"
    assert steps[-1][0] == steps[-1][1] > 600_000


async def test_a_model_that_cannot_run_is_refused_before_it_is_fetched(
    tmp_path: Path,
    engine: EngineAtHand,
    models: Models,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Gigabytes that could never be loaded are not fetched."""
    monkeypatch.setattr(
        model_plans, "read_memory", lambda _: AvailableMemory(ram_free=1000)
    )
    session = Session(tmp_path, engine, models.address, ("one",))
    async with session.running():
        while (failure := session.board.snapshot().failure) is None:
            await session.board.wait_change()
    assert failure.kind == "MemoryTooSmall"
    assert "one:latest cannot run" in failure.problem
    assert "smaller model" in failure.remedy
    assert models.asked == [], "it was fetched in spite of that"


async def test_a_model_that_is_here_is_not_refused_by_an_estimate(
    tmp_path: Path,
    engine: EngineAtHand,
    models: Models,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is fetched for it, so the engine itself may find out."""
    session = Session(tmp_path, engine, models.address, ("one",))
    async with session.running():
        await session.ready.wait_ready()
    monkeypatch.setattr(
        model_plans, "read_memory", lambda _: AvailableMemory(ram_free=1000)
    )
    again = Session(tmp_path, engine, models.address, ("one",))
    async with again.running():
        await again.ready.wait_ready()
        assert await again.chat("one") == 200
    assert "cannot run" in again.board.snapshot().models[0].fit


@pytest.mark.parametrize("gpu_bytes", [0, 10**9], ids=["RAM", "VRAM"])
@pytest.mark.parametrize("engine_is_up", [True, False])
async def test_memory_of_our_own_engine_counts_as_free(
    tmp_path: Path,
    engine: EngineAtHand,
    models: Models,
    monkeypatch: pytest.MonkeyPatch,
    engine_is_up: bool,
    gpu_bytes: int,
) -> None:
    """A second model is not refused because the first one fills the memory."""
    monkeypatch.setattr(
        model_plans, "read_memory", lambda _: AvailableMemory(ram_free=1000)
    )
    session = Session(tmp_path, engine, models.address, ("one", "two"))
    session.board.model("one", memory_bytes=10**9, gpu_bytes=gpu_bytes)
    async with session.running(engine_is_up=engine_is_up):
        while not (session.ready.is_up or session.board.snapshot().failure):
            await session.board.wait_change()
    assert session.ready.was_ready == engine_is_up, session.board.snapshot().failure


async def test_the_memory_estimate_of_each_model_is_reported(
    tmp_path: Path, engine: EngineAtHand, models: Models
) -> None:
    """The verdict is there before the model is."""
    models.held["one"] = asyncio.Event()
    session = Session(tmp_path, engine, models.address, ("one",))
    async with session.running():
        await models.reached.wait()
        state = session.board.snapshot()
        assert "runs on the CPU (slow)" in state.models[0].fit
        assert "runs on the CPU (slow)" in state.stage("pull").detail
        models.held["one"].set()
        await session.ready.wait_ready()


def fake_nvidia_smi(
    folder: Path, monkeypatch: pytest.MonkeyPatch, driver: int = 550
) -> None:
    """Put a stand-in for nvidia-smi on PATH which lists one T4."""
    folder.mkdir()
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho 'Tesla T4, {driver}, 7.5, 15360, 15000'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("driver", "version", "own", "expected"),
    [
        (535, "", "", "runs on the CPU"),
        (535, "latest", "", "runs on the CPU"),
        (535, "0.24.0", "", "fits on the GPU"),
        (535, "", "given", "fits on the GPU"),
        (535, "", "on PATH", "fits on the GPU"),
        (470, "", "on PATH", "runs on the CPU"),
        (550, "", "", "fits on the GPU"),
    ],
)
async def test_a_gpu_that_the_engine_cannot_use_is_not_reckoned_with(
    tmp_path: Path,
    engine: EngineAtHand,
    models: Models,
    monkeypatch: pytest.MonkeyPatch,
    driver: int,
    version: str,
    own: str,
    expected: str,
) -> None:
    """A driver too old for the engine to come means the CPU; an own one may do."""
    fake_nvidia_smi(tmp_path / "bin", monkeypatch, driver)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    session = Session(tmp_path, engine, models.address, ("one",))
    settings = replace(session.context.settings, ollama_version=version)
    if own == "given":
        sources = replace(settings.sources, engine_path="/some/ollama")
        settings = replace(settings, sources=sources)
    elif own:
        (tmp_path / "bin" / "ollama").touch(0o755)
    session.context.settings = settings
    async with session.running():
        await session.ready.wait_ready()
        assert expected in session.board.snapshot().models[0].fit


async def test_a_silent_fall_back_to_the_cpu_is_a_loud_warning(
    tmp_path: Path,
    engine: EngineAtHand,
    models: Models,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The driver has a GPU and the engine's log none: one warning with the cause."""
    fake_nvidia_smi(tmp_path / "bin", monkeypatch)
    engine.server = NoLog(head='msg="inference compute" id=cpu library=cpu')
    session = Session(tmp_path, engine, models.address, ("one",))
    session.board.warn("somebody", "another")
    async with session.running():
        await session.ready.wait_ready()
        assert "fits on the GPU" in session.board.snapshot().models[0].fit
        session.engine_ready.set_unready()
        await session.ready.wait_unready()
        session.engine_ready.set_ready()
        await session.ready.wait_ready()
        state = session.board.snapshot()
    assert state.warnings[0] == "another", "a warning of somebody else is gone"
    (warning,) = state.warnings[1:]
    assert "Tesla T4" in warning
    assert "run on the CPU, slowly" in warning
    assert "CUDA libraries" in warning
    assert state.models[0].gpu_bytes == 0


async def test_a_model_on_the_cpu_of_a_gpu_machine_is_a_warning(
    tmp_path: Path,
    engine: EngineAtHand,
    models: Models,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The engine has a GPU, but the runner's log shows that it is not used."""
    fake_nvidia_smi(tmp_path / "bin", monkeypatch)
    engine.server = NoLog(load="load_tensors: offloaded 0/25 layers to GPU")
    session = Session(tmp_path, engine, models.address, ("one",))
    session.board.update(compute="Tesla T4, 15.8 GB")
    async with session.running():
        await session.ready.wait_ready()
        state = session.board.snapshot()
    assert "100% of one:latest is on the CPU" in state.warnings[0]
    assert "on the CPU" in state.stage("warm").detail


async def test_a_machine_without_a_gpu_is_not_warned_of(
    tmp_path: Path,
    engine: EngineAtHand,
    models: Models,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is as it should be is no warning."""
    monkeypatch.setenv("PATH", str(tmp_path))
    session = Session(tmp_path, engine, models.address, ("one",))
    async with session.running():
        await session.ready.wait_ready()
        assert session.board.snapshot().warnings == ()


async def test_a_real_engine_without_a_gpu_proves_that_by_its_log(
    tmp_path: Path,
    real_engine: EngineAtHand,
    models: Models,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A runner that reports all as VRAM is not believed; a stand-in lists a GPU."""
    fake_nvidia_smi(tmp_path / "bin", monkeypatch)
    session = Session(tmp_path, real_engine, models.address, ("one",))
    async with session.running():
        await session.ready.wait_ready()
        state = session.board.snapshot()
    assert real_engine.server.detected_devices().text == "CPU"
    assert state.models[0].memory_bytes > 0
    assert state.models[0].gpu_bytes == 0
    assert "run on the CPU, slowly" in state.warnings[0]


async def test_the_cache_is_as_large_as_a_real_engine_makes_it(
    tmp_path: Path, real_engine: EngineAtHand, models: Models
) -> None:
    """Our arithmetic against the buffer that llama.cpp logs, to its two decimals."""
    session = Session(tmp_path, real_engine, models.address, ("one",))
    async with session.running():
        await session.ready.wait_ready()
    log = real_engine.server.log.since(0)
    buffers = re.findall(r"KV buffer size =\s*([\d.]+) MiB", log)
    if not buffers:
        pytest.skip("this engine's runner does not log its buffers")
    shape = read_architecture(tiny_gguf()[:HEAD_BYTES])
    assert shape is not None
    reckoned = cache_bytes(shape, ENGINE_CONTEXT, ContextDemand())
    assert float(buffers[-1]) == pytest.approx(reckoned / 2**20, abs=0.006)


@pytest.mark.parametrize("only_for_engines", [False, True], ids=["ours", "engine's"])
async def test_a_model_of_hf_comes_through_a_proxy_into_a_real_engine(
    tmp_path: Path,
    real_ollama: Path,
    models: Models,
    monkeypatch: pytest.MonkeyPatch,
    only_for_engines: bool,
) -> None:
    """``hf.co/USER/REPO:QUANT`` over TLS, by our downloader and the engine's own.

    Proxy variables and ``SSL_CERT_FILE`` hold for both; blobs come from a CDN.
    """
    name = "hf.co/Somebody/Tiny-GGUF:Q4_K_M"
    models.only_for_engines = only_for_engines
    async with proxied_hub(tmp_path, models) as (proxy, certificate, hosts):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        for variable in ("NO_PROXY", "no_proxy", "REQUESTS_CA_BUNDLE", "https_proxy"):
            monkeypatch.delenv(variable, raising=False)
        async with running_engine(real_ollama, tmp_path) as engine:
            session = Session(tmp_path, engine, "", (name,))
            async with session.running():
                await session.ready.wait_ready()
                assert await session.chat(name) == 200
                assert await session.chat(name.lower()) == 200
    assert set(hosts) == {"hf.co:443", "cdn-lfs.hf.co:443"}
    by_engine = [m for agent in ENGINES for m in models.weights_asked(agent)]
    assert bool(by_engine) == only_for_engines, "the other one fetched it"
