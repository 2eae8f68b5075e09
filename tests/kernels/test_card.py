"""The card's messages from a real kernel, and the output kept in a notebook file."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spicy_avocado_magic import down
from spicy_avocado_magic.errors import SHOWN_ABOVE
from tests.machine_speed import scaled
from tests.main_job.home import Home

from .cells import new_kernel_home
from .kernel import Output, new_kernel

MOST_BYTES_OF_A_MESSAGE = 20_000
MOST_BYTES_OF_A_FILE = 200_000

LONG_PULL = """
from dataclasses import replace

from spicy_avocado_magic.notebook.display.card import CardView
from spicy_avocado_magic.notebook.display.render import UpResult
from spicy_avocado_magic.protocol.state import (
    STAGES, ModelState, Phase, Progress, Stage, State
)

now = [0.0]  # seconds of a pull that lasts for half an hour, here in no time
total = 9 * 10**9
view = CardView(lambda: now[0])
with view:
    for step in range(30 * 60 * 4):
        now[0] = step / 4
        progress = Progress(
            done_bytes=round(total * now[0] / 1800), total_bytes=total, rate_bytes_s=5e6
        )
        stages = [Stage(name=name, component=part) for name, part in STAGES]
        stages[1] = replace(
            stages[1], phase=Phase.STARTING, detail="fetching big", progress=progress,
            elapsed_s=now[0],
        )
        models = (ModelState(name="big"),)
        view.show(State(sequence=step, stages=tuple(stages), models=models))
    done = [replace(stage, phase=Phase.READY, progress=None) for stage in stages]
    state = State(stages=tuple(done), models=models, url="https://a.example")
    result = UpResult(state=state, headline="Launched in 30 min 0 s.", show_key=True)
    view.show_result(result)
"""


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Give kernels a home of their own."""
    with new_kernel_home(monkeypatch) as made:
        yield made
        down()


def cards(output: Output) -> list[tuple[str, str, str]]:
    """Return type, display id and markup of every message that draws a card."""
    return [
        (kind, content["transient"]["display_id"], content["data"]["text/html"])
        for kind, content in output.displays
        if "avocado-card" in content["data"].get("text/html", "")
    ]


def phases(output: Output) -> list[str]:
    """Return the phase of the card at each draw."""
    found = (
        re.search(r'class="avocado-card" data-phase="(\w+)"', markup)
        for _, _, markup in cards(output)
    )
    return [match[1] for match in found if match]


def require_one_display(output: Output) -> None:
    """Fail unless there is one display with updates, each of a bounded size."""
    first, *others = cards(output)
    assert first[0] == "display_data"
    assert {kind for kind, _, _ in others} <= {"update_display_data"}
    assert len({message[1] for message in (first, *others)}) == 1, (
        "a second display was made"
    )
    for _, content in output.displays:
        size = len(json.dumps(content["data"], ensure_ascii=False).encode())
        assert size <= MOST_BYTES_OF_A_MESSAGE, f"a message of {size} bytes"


def test_up_is_one_display_that_is_updated_in_place(home: Home) -> None:
    """From the first stage to the result; also a failure and the status."""
    with new_kernel() as kernel:
        assert kernel.run("%load_ext spicy_avocado_magic").status == "ok"
        refused = kernel.run("%avocado_up missing-x --rehearse --local")
        assert refused.status == "error", refused.text
        require_one_display(refused)
        assert phases(refused)[-1] == "failed"
        up = kernel.run("%avocado_up tiny --rehearse --local")
        assert up.status == "ok", up.text
        require_one_display(up)
        assert phases(up)[0] == "starting"
        assert phases(up)[-1] == "ready"
        status = kernel.run("%avocado_status")
        require_one_display(status)
        assert phases(status) == ["ready"]


def test_a_failure_is_printed_once_for_a_person_and_in_full_for_nbclient(
    home: Home,
) -> None:
    """The card shows it, or the error alone where nobody sees the card."""
    up = "%avocado_up missing-x --rehearse --local"
    with new_kernel() as kernel:
        assert kernel.run("%load_ext spicy_avocado_magic").status == "ok"
        seen = kernel.collect(kernel.send(up, allow_stdin=True))
        assert seen.traceback == [SHOWN_ABOVE]
        assert "has no model" in cards(seen)[-1][2], "the card does not show it"
        alone = kernel.run(up)
        assert "has no model" in "\n".join(alone.traceback)
        assert "  → " in "\n".join(alone.traceback), "the remedy is missing"


def test_a_start_in_the_background_leaves_a_card_that_stays_true(
    home: Home,
) -> None:
    """It is drawn once: nothing redraws it when the service is ready."""
    with new_kernel() as kernel:
        assert kernel.run("%load_ext spicy_avocado_magic").status == "ok"
        up = kernel.run("%avocado_up tiny --rehearse --local --background")
        ((kind, _, markup),) = cards(up)
        assert kind == "display_data"
        assert "Started in the background" in markup
        assert "Starting" not in markup
        assert 'class="avocado-stage"' not in markup


def test_no_second_of_a_cell_has_more_than_four_displays(home: Home) -> None:
    """While a model is created and served, and while an answer arrives."""
    with new_kernel() as kernel:
        assert kernel.run("%load_ext spicy_avocado_magic").status == "ok"
        assert kernel.run("%avocado_up tiny --rehearse --local").status == "ok"
        for cell in ("%%avocado_model mine\nFROM tiny", f"%%avocado_ask\n{'a ' * 99}"):
            output = kernel.run(cell)
            assert output.status == "ok", output.text
            assert len(output.sent_s) > 1, f"nothing moved: {output.text}"
            for first, fifth in zip(output.sent_s, output.sent_s[4:], strict=False):
                assert fifth - first > 1.0, f"five displays in {fifth - first:.2f} s"


def test_status_is_watched_in_place_until_interrupted(home: Home) -> None:
    """The interrupt is quiet, and the service keeps running."""
    with new_kernel() as kernel:
        assert kernel.run("%load_ext spicy_avocado_magic").status == "ok"
        assert kernel.run("%avocado_up tiny --rehearse --local").status == "ok"
        message = kernel.send("%avocado_status --watch")
        seen = kernel.collect(message, until_text="avocado-card")
        kernel.interrupt()
        rest = kernel.collect(message)
        assert rest.status == "ok", f"the interrupt is an error: {rest.text}"
        seen.displays += rest.displays
        require_one_display(seen)
        assert len(cards(seen)) >= 2, "what stays was not drawn"
        assert "data-fold" in cards(seen)[-1][2], "what stays has no folds"


TERMINAL_SCRIPT = """
%load_ext spicy_avocado_magic
%avocado_up tiny --rehearse --local
%avocado_status --watch
print("AFTER")
%avocado_down
"""


def test_a_real_terminal_gets_lines_that_are_overwritten(home: Home) -> None:
    """Few lines; an interrupt ends `--watch`, and the script continues."""
    pexpect = pytest.importorskip("pexpect")
    script = home.path / "terminal.ipy"
    script.write_text(TERMINAL_SCRIPT)
    command = ["-m", "IPython", "--no-banner", str(script)]
    child = pexpect.spawn(
        sys.executable,
        command,
        encoding="utf-8",
        timeout=scaled(60),
        dimensions=(40, 100),
        env={**os.environ, "TERM": "xterm"},
    )
    try:
        child.expect("Launched in")
        assert child.before.count("✓ pull") == 1, "a settled line is printed again"
        assert "\r\x1b[K" in child.before, "nothing is written over"
        child.expect(r"\x1b\[\d+A")  # the status is drawn for the second time
        child.expect("log  ")
        child.sendintr()
        child.expect("AFTER")
        assert "Traceback" not in child.before, child.before
        child.expect("Nothing is left")
        child.expect(pexpect.EOF)
    finally:
        child.close()
    assert child.exitstatus == 0, "the script failed"


def test_the_file_of_a_notebook_with_a_long_pull_stays_small(
    home: Home, tmp_path: Path
) -> None:
    """Each update replaces the last, so half an hour of them is one output."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    cell = nbformat.v4.new_code_cell(LONG_PULL)
    notebook = nbformat.v4.new_notebook(cells=[cell])
    nbclient.NotebookClient(
        notebook, timeout=int(scaled(110)), kernel_name="python3"
    ).execute()
    path = tmp_path / "pull.ipynb"
    nbformat.write(notebook, path)
    size = path.stat().st_size
    assert size < MOST_BYTES_OF_A_FILE, f"the file has {size} bytes"
    (output,) = notebook.cells[0].outputs
    assert 'data-phase="ready"' in output["data"]["text/html"]
    assert "Launched in 30 min 0 s." in output["data"]["text/plain"]
    assert "starting" not in output["data"]["text/html"].split("</style>")[1]
