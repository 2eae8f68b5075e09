"""Counts, the page for scrapers and the access log of a whole service."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import requests

from spicy_avocado_magic import down
from spicy_avocado_magic.client.handle import Avocado
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.protocol.state import State
from tests.machine_speed import scaled

from .chat import stream_chat
from .home import Home

PATIENT: Final = scaled(10)


@pytest.fixture
def state_folder(home: Home) -> Iterator[Path]:
    """Where the rehearsal's host keeps its files; whatever was secret has gone."""
    folder = home.state_folders[1]
    yield folder
    down()
    if folder.exists():
        assert not list(folder.glob("*.log")), "logs outlived the end"


def scrape(url: str, token: str) -> requests.Response:
    """Ask for the page."""
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(url, headers=headers, timeout=PATIENT)


def opened(avocado: Avocado) -> str:
    """Return the URL of the page, which may come a moment after ``up``."""
    deadline = time.monotonic() + PATIENT
    while not (url := avocado.metrics_url) and time.monotonic() < deadline:
        time.sleep(0.05)
    return url


def _until_written(log: Path) -> None:
    """Return once there is a line: they come in batches."""
    deadline = time.monotonic() + PATIENT
    while not log.exists():
        assert time.monotonic() < deadline, "nothing was logged"
        time.sleep(0.02)


def test_a_scraper_reads_what_went_through_with_its_own_token(
    home: Home, state_folder: Path, unused_tcp_port: int
) -> None:
    """The port comes with a running service, and goes; neither key opens both."""
    avocado = home.up("tiny")
    assert (avocado.metrics_url, avocado.metrics_token) == ("", "")
    before = avocado.url
    avocado = home.up(metrics_port=f"127.0.0.1:{unused_tcp_port}")
    assert avocado.has_new_token, "the token would never be shown"
    assert avocado.url == before, "the tunnel was started again"
    stream_chat(avocado.url, avocado.api_key)
    url, token = opened(avocado), avocado.metrics_token
    assert url == f"http://127.0.0.1:{unused_tcp_port}/metrics"
    page = scrape(url, token)
    assert page.status_code == 200, page.text
    assert page.text.endswith("# EOF\n")
    assert "avocado_public_requests_total" in page.text
    assert scrape(url, avocado.api_key).status_code == 401, "the users' key opens it"
    models = requests.get(
        f"{avocado.local_url}/v1/models",
        headers={"Authorization": f"Bearer {token}"},
        timeout=PATIENT,
    )
    assert models.status_code == 401, "the scraper's token opens the gateway"
    _until_written(state_folder / "access.log")
    for name in ("host.log", "record.json", "access.log"):
        text = (state_folder / name).read_text()
        assert token not in text, f"{name} holds the token"
    assert token in (state_folder / "wanted.json").read_text()
    again = home.up(metrics_port=f"127.0.0.1:{unused_tcp_port}")
    assert (again.outcome, again.has_new_token) == ("reused", False)
    closed = home.up(metrics_port="")
    assert (closed.metrics_url, closed.metrics_token) == ("", "")
    with pytest.raises(requests.ConnectionError):
        scrape(url, token)


def test_the_state_has_use_by_key_and_by_model(home: Home) -> None:
    """What a chat through the public URL has cost is in the status."""
    avocado = home.up("tiny")
    stream_chat(avocado.url, avocado.api_key)
    state = avocado.status() or State()
    traffic = state.traffic
    assert traffic.public_requests >= 1, "the chat does not count for the free month"
    assert traffic.tokens_out > 0, "the chat cost nothing"
    assert traffic.first_token_p50_s is not None
    (owner,) = state.keys
    assert owner.requests == state.requests
    assert owner.tokens_out == traffic.tokens_out
    assert [model.name for model in traffic.models] == ["tiny:latest"]


def test_the_access_log_is_a_private_file_of_its_own(
    home: Home, state_folder: Path
) -> None:
    """One line a request; the host's own log stays readable."""
    avocado = home.up("tiny", policy=Timeouts(access_log_every_s=0.01))
    stream_chat(avocado.url, avocado.api_key)
    requests.get(f"{avocado.local_url}/none", timeout=PATIENT)
    log = state_folder / "access.log"
    lines: list[dict[str, object]] = []
    deadline = time.monotonic() + PATIENT
    while time.monotonic() < deadline:
        if any(line["status"] == 404 for line in lines):
            break
        lines = [json.loads(line) for line in log.read_text().splitlines()]
    chats = [line for line in lines if line["route"] == "/v1/chat/completions"]
    assert (chats[-1]["key"], chats[-1]["model"]) == ("owner", "tiny:latest")
    assert chats[-1]["is_public"] is True
    assert stat.S_IMODE(log.stat().st_mode) == 0o600, "others can read it"
    assert avocado.api_key not in log.read_text()
    assert '"route"' not in (state_folder / "host.log").read_text()
