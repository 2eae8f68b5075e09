"""The main job in rehearsal, through the Python API."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import openai
import pytest
import requests

from spicy_avocado_magic import down, status
from spicy_avocado_magic.client.api import up
from spicy_avocado_magic.client.control_client import ControlClient
from spicy_avocado_magic.client.handle import Avocado
from spicy_avocado_magic.client.state_text import (
    connection_details,
    curl_line,
    status_text,
)
from spicy_avocado_magic.errors import ModelUnavailable, UsageError
from spicy_avocado_magic.protocol.control_messages import (
    UpMessage,
    UpReply,
    WithdrawMessage,
    WithdrawReply,
)
from spicy_avocado_magic.protocol.state import COMPONENTS, STAGES, Phase, State
from spicy_avocado_magic.protocol.state_folder import StateFolder
from spicy_avocado_magic.system.paths import engines_folder, models_folder
from tests.machine_speed import scaled

from .chat import stream_chat
from .home import PACKAGE_PARENT, Home


def test_up_gives_a_public_url_that_chats_until_down(home: Home) -> None:
    """One call, a chat through the public URL with a stock client, one call back."""
    seen: list[State] = []
    avocado = home.up("tiny", show=seen.append)
    assert avocado.outcome == "launched", "a first up did not say that it launched"
    assert "avocado" in stream_chat(avocado.url, avocado.api_key).lower()
    state = avocado.status()
    assert state is not None, "a running host has no state"
    assert state.is_ready, status_text(state)
    assert state.rehearsal, "a rehearsal does not say that it is one"
    assert state.requests == 2, "the chat and our health check are not counted"
    assert "REHEARSAL" in connection_details(state, show_key=True)
    assert "REHEARSAL" in status_text(state)
    assert len(seen) > 1, "no stage was shown as it happened"
    (ended,) = down()
    assert set(ended.processes) == {"host", "engine", "agent", "rehearsal"}
    assert status() is None, "a state outlived down"
    assert avocado.url == "", "the handle names a URL that is no more"
    assert not home.wait_no_processes()


def test_a_purge_frees_the_engine_of_a_rehearsal_that_was_killed(home: Home) -> None:
    """One that ends by itself has taken its own away; its models are not touched."""
    state = home.up("tiny").status()
    assert state is not None
    os.kill(state.pid, signal.SIGKILL)
    assert not home.wait_no_processes()
    *_, ended = down(rehearse=True, purge=True)
    assert ended.purged is not None
    assert ended.purged.freed_bytes > 100_000
    assert not engines_folder(rehearsal=True).exists()
    assert list(models_folder("", rehearsal=True).rglob("sha256-*")), "models are gone"
    down(rehearse=True)


def test_every_stage_shows_its_detail_and_its_duration(running: Avocado) -> None:
    """All seven stages end ready, with a detail and a duration."""
    state = running.status()
    assert state is not None
    assert [stage.name for stage in state.stages] == [name for name, _ in STAGES]
    for stage in state.stages:
        assert stage.phase is Phase.READY, f"{stage.name} is {stage.phase}"
        assert stage.detail, f"{stage.name} says nothing of what it did"
        assert stage.elapsed_s > 0, f"{stage.name} does not say how long it took"
    assert all(state.component(name) is Phase.READY for name in COMPONENTS)
    pull = state.stage("pull").progress
    assert pull is not None, "the pull shows no bytes"
    assert pull.done_bytes == pull.total_bytes > 300_000


def test_the_curl_line_of_the_handover_works_when_pasted(running: Avocado) -> None:
    """The line that is shown, run by a shell as it is, gets an answer."""
    state = running.status()
    assert state is not None
    line = curl_line(state, show_key=True)
    answer = subprocess.run(
        ["sh", "-c", f"{line} -sS -f"], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, f"{line}\n{answer.stderr}"
    assert '"choices"' in answer.stdout, answer.stdout


def test_the_same_up_again_changes_nothing_and_says_reused(
    running: Avocado, same_home: Home
) -> None:
    """Re-running the cell is harmless."""
    before = running.status()
    again = same_home.up("tiny")
    after = again.status()
    assert again.outcome == "reused"
    assert before is not None
    assert after is not None
    assert (after.pid, after.url, after.api_key) == (
        before.pid,
        before.url,
        before.api_key,
    )


def test_another_model_is_added_and_the_first_goes_on(home: Home) -> None:
    """`up` adds models; URL and key stay; `--only` makes the list exact."""
    avocado = home.up("tiny")
    url, key = avocado.url, avocado.api_key
    assert home.up("other").outcome == "changed"
    assert set(avocado.models) == {"tiny", "other"}
    assert (avocado.url, avocado.api_key) == (url, key), "URL or key changed"
    for model in ("tiny", "other"):
        assert stream_chat(url, key, model), f"{model} does not answer"
    assert home.up("other", only=True).outcome == "changed"
    assert avocado.models == ("other",)
    with pytest.raises(openai.NotFoundError):
        stream_chat(url, key, "tiny")


def test_a_model_that_does_not_exist_is_taken_back_and_the_rest_serves_on(
    home: Home,
) -> None:
    """A failed change of a running host leaves it as it was."""
    avocado = home.up("tiny")
    url, key = avocado.url, avocado.api_key
    with pytest.raises(ModelUnavailable, match="missing-one"):
        home.up("missing-one")
    assert avocado.models == ("tiny",), "the unknown model is still wanted"
    assert stream_chat(url, key), "the first model stopped serving"
    assert home.up("tiny").outcome in ("reused", "changed")


def test_only_the_last_change_can_be_taken_back(home: Home) -> None:
    """A cell that fails late does not undo what another one did since."""
    avocado = home.up("tiny", local=True)
    host = ControlClient(StateFolder.find(rehearsal=True).socket)
    first = host.post(
        "/up", UpMessage(given={"models": ["second"]}, only=False), UpReply
    ).change
    second = host.post(
        "/up", UpMessage(given={"models": ["third"]}, only=False), UpReply
    ).change
    assert not host.post("/withdraw", WithdrawMessage(change=first), WithdrawReply).done
    assert "third" in avocado.models
    assert host.post("/withdraw", WithdrawMessage(change=second), WithdrawReply).done
    assert list(avocado.models) == ["tiny", "second"]


def test_a_key_that_the_user_gives_is_the_key(home: Home) -> None:
    """The given key opens, another does not, and output masks it."""
    avocado = home.up("tiny", api_key="given-key-0123456789")
    assert stream_chat(avocado.url, "given-key-0123456789")
    with pytest.raises(openai.AuthenticationError):
        stream_chat(avocado.url, "another-key-0123456789")
    state = avocado.status()
    assert state is not None
    for text in (connection_details(state, show_key=True), status_text(state)):
        assert "given-key-0123456789" not in text, "a given key was shown"


def test_access_changes_at_once_without_touching_the_url(home: Home) -> None:
    """A new key replaces the old one on a running host; the path key opens too."""
    avocado = home.up("tiny")
    url, old = avocado.url, avocado.api_key
    changed = home.up(api_key="second-key-0123456789", path_key=True)
    assert changed.outcome == "changed"
    assert changed.url == url
    with pytest.raises(openai.AuthenticationError):
        stream_chat(url, old)
    by_path = requests.get(f"{url}/second-key-0123456789/api/tags", timeout=scaled(5))
    assert by_path.status_code == 200, "the path key does not open"


def test_no_auth_serves_without_a_key(home: Home) -> None:
    """`--no-auth` opens the inference routes, and says so."""
    avocado = home.up("tiny", no_auth=True)
    assert avocado.api_key == ""
    assert requests.get(f"{avocado.url}/api/tags", timeout=scaled(5)).status_code == 200
    state = avocado.status()
    assert state is not None
    assert "anybody" in connection_details(state, show_key=True)


def test_local_opens_no_tunnel(home: Home) -> None:
    """`--local` starts no agent; a later `up` opens the tunnel."""
    avocado = home.up("tiny", local=True)
    assert avocado.url == ""
    assert stream_chat(avocado.local_url, avocado.api_key)
    commands = " ".join(" ".join(p.cmdline()) for p in home.processes())
    assert "rehearsal.agent" not in commands, "an agent runs under --local"
    assert home.up(local=False).outcome == "changed"
    assert stream_chat(avocado.url, avocado.api_key)


def test_a_port_and_a_domain_are_used(home: Home) -> None:
    """`--port` is the gateway's port and `--domain` is asked of the service."""
    port = 29717
    avocado = home.up("tiny", port=port, domain="my.ngrok.app")
    assert avocado.local_url.endswith(f":{port}")
    url = avocado.url
    assert stream_chat(url, avocado.api_key)
    assert home.up(domain="other.ngrok.app").url != url, "the domain was not used"


def test_engine_settings_restart_the_engine_alone(home: Home) -> None:
    """`--context` restarts the engine; URL and key stay."""
    avocado = home.up("tiny")
    url, key = avocado.url, avocado.api_key
    assert home.up(context=512).outcome == "changed"
    assert (avocado.url, avocado.api_key) == (url, key)
    assert stream_chat(url, key)
    (engine,) = [
        p for p in home.processes() if p.environ().get("OLLAMA_CONTEXT_LENGTH")
    ]
    assert engine.environ()["OLLAMA_CONTEXT_LENGTH"] == "512"


def test_a_models_folder_that_outlives_the_session_is_used_again(
    home: Home, tmp_path: Path
) -> None:
    """As on a mounted drive: after `down`, the next `up` pulls nothing."""
    names = ("tiny", "hf.co/somebody/Tiny-GGUF:Q4_K_M")
    details = []
    for _ in range(2):
        avocado = home.up(*names, models_dir=str(tmp_path), local=True)
        for name in names:
            assert stream_chat(avocado.local_url, avocado.api_key, name)
        state = avocado.status()
        assert state is not None
        details.append(state.stage("pull").detail)
        down()
    assert "downloaded" in details[0]
    assert "already on disk" in details[1], "the second session pulled again"


def test_a_models_folder_that_cannot_be_written_is_an_error(
    home: Home, tmp_path: Path
) -> None:
    """The error names the folder and the option."""
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="--models-dir"):
        home.up("tiny", models_dir=str(tmp_path / "file" / "models"), local=True)


def test_every_model_shows_the_memory_that_it_needs(running: Avocado) -> None:
    """The verdict stands in the state, with the context that it is for."""
    state = running.status()
    assert state is not None
    assert "with 2048 tokens of context" in state.models[0].fit


def test_restart_keeps_key_and_models(home: Home) -> None:
    """`--restart` is a new host with the same key."""
    avocado = home.up("tiny", "other")
    before = avocado.status()
    assert before is not None
    again = home.up(restart=True)
    after = again.status()
    assert after is not None
    assert after.pid != before.pid, "the host was not restarted"
    assert again.api_key == before.api_key
    assert again.models == ("tiny", "other")
    assert stream_chat(again.url, again.api_key)


def test_background_returns_before_all_is_ready(home: Home) -> None:
    """`--background` returns once the host has accepted; it goes on by itself."""
    avocado = home.up("tiny", background=True)
    assert avocado.outcome == "accepted"
    deadline = time.monotonic() + scaled(10)
    while not ((state := avocado.status()) and state.is_ready):
        assert time.monotonic() < deadline, "it never became ready"
        time.sleep(0.05)
    assert stream_chat(avocado.url, avocado.api_key)


def test_time_to_live_ends_everything(home: Home) -> None:
    """`--ttl` ends the host with all that belongs to it; it can be changed."""
    state = home.up("tiny", ttl_s=3600.0).status()
    assert state is not None
    assert state.ends_in_s is not None
    assert 3000 < state.ends_in_s <= 3600
    home.up(ttl_s=2.0)
    assert not home.wait_no_processes(within_s=scaled(8)), (
        "it outlived its time to live"
    )
    assert not home.secret_files()


def test_with_ends_only_what_it_launched(home: Home) -> None:
    """Leaving `with up(…)` ends a host that it launched, and no other."""
    with home.up("tiny") as first:
        with home.up("tiny") as second:
            assert second.outcome == "reused"
        assert first.url, "a reused host was ended by `with`"
    assert status() is None, "the host that `with` launched outlived it"


def test_a_local_host_restarts_without_a_token(home: Home) -> None:
    """What was local stays local; nobody is asked for a token that has no use."""
    home.up("tiny", local=True)
    again = home.up(restart=True)
    assert again.outcome == "launched"
    assert again.url == ""


def test_the_key_is_new_only_for_the_up_that_made_it(home: Home) -> None:
    """By this the notebook shows a key in full once."""
    first = home.up("tiny", local=True)
    assert first.has_new_key, "the up that made the key does not say so"
    assert not home.up("tiny").has_new_key
    assert not home.up(restart=True).has_new_key


def test_down_where_nothing_runs_is_a_no_op(home: Home) -> None:
    """It ends nothing, raises nothing and says so by being empty."""
    assert down() == ()


def test_two_launches_in_the_same_instant_become_one_host(home: Home) -> None:
    """One wins the lock, the other attaches."""
    script = (
        "from spicy_avocado_magic import up\n"
        "a = up('tiny', rehearse=True, detach=True)\n"
        "print(a.outcome, a.status().pid, a.url)"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONPATH": str(PACKAGE_PARENT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(2)
    ]
    results = [run.communicate(timeout=scaled(30))[0].split() for run in runs]
    assert results[0][1:] == results[1][1:], f"two hosts: {results}"
    assert "launched" in (results[0][0], results[1][0])


def test_python_up_names_the_nearest_option(home: Home) -> None:
    """A misspelt option of `up()` is an error that helps."""
    with pytest.raises(UsageError, match="domain"):
        up("tiny", domian="x.ngrok.app", rehearse=True)  # type: ignore[call-arg]
