"""The main job, typed in a real kernel of this IPython."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spicy_avocado_magic import down, status
from tests.machine_speed import scaled
from tests.main_job.home import PACKAGE_PARENT, Home

from .cells import failed as _failed
from .cells import good as _good
from .cells import loaded_kernel as _loaded_kernel
from .cells import new_kernel_home as _new_home
from .kernel import Kernel, new_kernel

CHAT = """
import json, urllib.request
request = urllib.request.Request(
    avocado.url + "/v1/chat/completions",
    json.dumps({"model": "tiny", "stream": True, "max_tokens": 8,
                "messages": [{"role": "user", "content": "hello"}]}).encode(),
    {"Authorization": "Bearer " + avocado.api_key, "Content-Type": "application/json"})
lines = urllib.request.urlopen(request).read().decode().splitlines()
print(sum(line.startswith("data: {") for line in lines), "chunks")
"""


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Give the kernel a home of its own; nothing may be left at the end."""
    with _new_home(monkeypatch) as made:
        yield made


@pytest.fixture
def kernel(home: Home) -> Iterator[Kernel]:
    """Start a kernel with the extension loaded."""
    with _loaded_kernel() as started:
        yield started


@pytest.fixture(scope="module")
def same_kernel() -> Iterator[Kernel]:
    """Start one kernel, in a home of its own, for the tests that leave it unchanged."""
    with (
        pytest.MonkeyPatch.context() as patch,
        _new_home(patch),
        _loaded_kernel() as started,
    ):
        yield started


@pytest.fixture
def clean_kernel(same_kernel: Kernel) -> Iterator[Kernel]:
    """Return that kernel, and clean up its variables and service after the test."""
    yield same_kernel
    down()
    _good(same_kernel.run("%reset -f"))


def test_the_main_job_from_load_to_down(kernel: Kernel, home: Home) -> None:
    """Up, chat, status, restart, status, chat again, down."""
    _walk_through_the_main_job(kernel, home)


def test_the_main_job_on_a_real_engine(
    home: Home, real_ollama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same steps with a real Ollama first on PATH."""
    path = os.pathsep.join((str(real_ollama.parent), os.environ["PATH"]))
    monkeypatch.setenv("PATH", path)
    with new_kernel() as kernel:
        _good(kernel.run("%load_ext spicy_avocado_magic"))
        output = _walk_through_the_main_job(kernel, home)
    assert "PATH" in output, "the engine is not the real one"


def _walk_through_the_main_job(kernel: Kernel, home: Home) -> str:
    """Do what the README does, and return the output of status."""
    up = _good(kernel.run("%avocado_up tiny --rehearse"))
    assert "REHEARSAL" in up
    assert "http://127.0.0.1:" in up, "the URL is not shown"
    assert "curl" in up
    assert "avocado-" in up, "the generated key is not shown"
    _chat(kernel)
    url = _good(kernel.run("print(avocado.url)")).strip()
    output = _good(kernel.run("%avocado_status"))
    for word in ("install", "tunnel", url, "tiny"):
        assert word in output, f"status does not show {word}"
    kernel.restart()
    assert url in _good(kernel.run("%load_ext spicy_avocado_magic\nprint(avocado.url)"))
    assert url in _good(kernel.run("%avocado_status"))
    _chat(kernel)
    assert "Stopped in" in _good(kernel.run("%avocado_down"))
    assert status() is None
    left = home.wait_no_processes(beside="ipykernel_launcher")
    assert not left, f"still running after down: {left}"
    return output


def _chat(kernel: Kernel) -> None:
    output = _good(kernel.run(CHAT))
    assert re.search(r"\b[1-9]\d* chunks", output), f"nothing was streamed: {output}"


def test_the_service_outlives_a_killed_kernel(kernel: Kernel, home: Home) -> None:
    """The URL stays up after kill -9 of the kernel."""
    _good(kernel.run("%avocado_up tiny --rehearse"))
    url = _good(kernel.run("print(avocado.url)")).strip()
    kernel.kill()
    assert url in _good(kernel.run("%load_ext spicy_avocado_magic\nprint(avocado.url)"))


def test_a_key_is_added_used_listed_and_revoked(clean_kernel: Kernel) -> None:
    """`%avocado_keys` with all its actions, and its errors."""
    assert "othing" in _good(clean_kernel.run("%avocado_keys"))
    _failed(
        clean_kernel.run("%avocado_keys add ann"), "Nothing is running", "%avocado_up"
    )
    _good(clean_kernel.run("%avocado_up tiny --rehearse --local"))
    given = _good(clean_kernel.run("WHO = 'ann'\n%avocado_keys add $WHO --tokens 1000"))
    (key,) = set(re.findall(r"avocado-[\w-]{32}", given))
    chat = CHAT.replace("avocado.api_key", repr(key)).replace(
        "avocado.url", "avocado.local_url"
    )
    assert re.search(r"\b[1-9]\d* chunks", _good(clean_kernel.run(chat)))
    listed = clean_kernel.run("%avocado_keys")
    assert "1000 tokens" in _good(listed)
    assert "<td" in "".join(listed.html), "the list is not drawn"
    assert key not in listed.text + "".join(listed.html), "the key is shown again"
    _failed(clean_kernel.run("%avocado_keys revok ann"), "Did you mean revoke")
    assert "ann" in _good(clean_kernel.run("%avocado_keys revoke ann"))
    assert clean_kernel.run(chat).error == "HTTPError", "the key still opens"


def test_the_logs_are_shown_followed_and_outlive_the_daemon(
    kernel: Kernel, home: Home
) -> None:
    """`%avocado_logs` of a running service, until interrupted, and of a killed one."""
    assert "There are no logs" in _good(kernel.run("%avocado_logs"))
    _good(kernel.run("%avocado_up tiny --rehearse --local"))
    shown = _good(kernel.run("%avocado_logs"))
    for word in ("REHEARSAL", "started", "gateway: ready", "msg=", "after "):
        assert word in shown, f"{word!r} is not in: {shown}"
    assert len(_good(kernel.run("%avocado_logs engine -n 3")).splitlines()) == 4
    _failed(kernel.run("%avocado_logs engin"), "Did you mean engine?")
    message = kernel.send("%avocado_logs --follow -n 1")
    kernel.collect(message, until_text="REHEARSAL")
    kernel.interrupt()
    output = kernel.collect(message)
    assert output.status == "ok", f"the interrupt is an error: {output.text}"
    state = status()
    assert state is not None, "the interrupt ended the service"
    os.kill(state.pid, signal.SIGKILL)
    shown = _good(kernel.run("%avocado_status"))
    assert f"(pid {state.pid}) was killed" in shown
    assert "%avocado_up starts it again" in shown
    assert "gateway: ready" in _good(kernel.run("%avocado_logs"))
    with new_kernel() as other:
        code = "%load_ext spicy_avocado_magic\n%avocado_logs host"
        assert "died" in _good(other.run(code)), "another kernel does not show it"


def test_json_status_and_commands_without_a_service(clean_kernel: Kernel) -> None:
    """`--json` returns a dict; status and down print that nothing is running."""
    assert "othing" in _good(clean_kernel.run("%avocado_status"))
    assert "othing" in _good(clean_kernel.run("%avocado_down"))
    _good(clean_kernel.run("MODEL = 'tiny'\n%avocado_up $MODEL --rehearse --local"))
    code = "s = %avocado_status --json\nprint(type(s).__name__, s['models'][0]['name'])"
    assert "dict tiny" in _good(clean_kernel.run(code))


def test_a_cell_body_sets_options(clean_kernel: Kernel) -> None:
    """KEY=value lines set our options and the engine's; the line takes precedence."""
    cell = (
        "%%avocado_up tiny --rehearse --context 256\n"
        "# a comment\n"
        "OLLAMA_NUM_PARALLEL=2\n"
        'AVOCADO_API_KEY="key-from-the-body-1"\n'
        "AVOCADO_CONTEXT=512\n"
        "AVOCADO_LOCAL=true\n"
    )
    _good(clean_kernel.run(cell))
    assert "key-from-the-body-1" in _good(clean_kernel.run("print(avocado.api_key)"))


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("%avocado_up --rehearse", ("No model",)),
        ("%avocado_up tiny --domian x.y --rehearse", ("--domain",)),
        ("%avocado_up tiny --token $NOWHERE", ("NOWHERE",)),
        ("%avocado_up $NOWHERE --rehearse", ("NOWHERE",)),
        ("%avocado_up tiny --port many --rehearse", ("port",)),
        ("%avocado_up missing-x --rehearse", ("missing-x",)),
        (
            "%%avocado_up tiny --rehearse\nOLLAMA_NUM_PARALEL=2",
            ("OLLAMA_NUM_PARALEL", "OLLAMA_NUM_PARALLEL"),
        ),
        ("%%avocado_up tiny --rehearse\nOLLAMA_HOST=0.0.0.0", ("OLLAMA_HOST",)),
        ("%avocado_up tiny", ("token",)),
    ],
)
def test_a_wrong_line_ends_in_one_short_message(
    clean_kernel: Kernel, cell: str, words: tuple[str, ...]
) -> None:
    """The cell fails, without a traceback, and nothing is left running."""
    _failed(clean_kernel.run(cell), *words)
    assert status() is None


def test_an_interrupt_undoes_what_up_began(kernel: Kernel, home: Home) -> None:
    """The stop button during `up` leaves nothing running."""
    message = kernel.send("%avocado_up tiny --rehearse")
    kernel.collect(message, until_text="install")
    kernel.interrupt()
    output = kernel.collect(message)
    if output.status == "ok":  # it was faster than the interrupt
        pytest.skip("up was ready before the interrupt came")
    assert "Interrupted" in output.text, output.text
    assert "Traceback" not in output.text, output.text
    assert status() is None


def test_loading_twice_and_reset_are_harmless(clean_kernel: Kernel) -> None:
    """The next magic sets `avocado` again."""
    _good(clean_kernel.run("%avocado_up tiny --rehearse --local"))
    _good(clean_kernel.run("%load_ext spicy_avocado_magic"))
    _good(clean_kernel.run("%reload_ext spicy_avocado_magic"))
    _good(clean_kernel.run("%reset -f"))
    _good(clean_kernel.run("%avocado_status"))
    assert "http" in _good(clean_kernel.run("print(avocado.local_url)"))


def test_a_variable_of_the_user_is_not_overwritten(clean_kernel: Kernel) -> None:
    """`avocado = 3` stays 3."""
    _good(clean_kernel.run("avocado = 3"))
    _good(clean_kernel.run("%avocado_up tiny --rehearse --local"))
    assert "3" in _good(clean_kernel.run("print(avocado)"))


def test_a_second_kernel_finds_the_running_service(kernel: Kernel) -> None:
    """Two kernels on one machine share one daemon."""
    _good(kernel.run("%avocado_up tiny --rehearse"))
    url = _good(kernel.run("print(avocado.url)")).strip()
    with new_kernel() as second:
        code = "%load_ext spicy_avocado_magic\n%avocado_up tiny --rehearse\n"
        _good(second.run(code))
        assert url in _good(second.run("print(avocado.url, avocado.outcome)"))
        assert "reused" in _good(second.run("print(avocado.outcome)"))


def test_help_is_shown_without_doing_anything(clean_kernel: Kernel) -> None:
    """`--help` and `?` show the options."""
    assert "--domain" in _good(clean_kernel.run("%avocado_up --help"))
    assert status() is None


def test_terminal_ipython_runs_the_example(home: Home) -> None:
    """The README's rehearsal, in terminal IPython."""
    example = PACKAGE_PARENT / "examples" / "rehearse.ipy"
    ran = subprocess.run(
        [sys.executable, "-m", "IPython", "--no-banner", str(example)],
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=False,
        env=os.environ,
        cwd=home.path,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "REHEARSAL" in ran.stdout + ran.stderr
    assert "http://127.0.0.1:" in ran.stdout, ran.stdout
    assert not home.wait_no_processes(), "the example left something running"
