"""Installation of the agent, and refusal of a program that cannot work."""

from __future__ import annotations

import io
import os
import ssl
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from pyngrok import conf

from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.errors import (
    DownloadFailed,
    NetworkUnreachable,
    UserActionRequired,
)
from spicy_avocado_magic.tunnel.ngrok import install
from tests.machine_speed import scaled

from ...tunnel_parts import serving

QUICK = replace(Timeouts(), backoff_first_s=0.001, agent_start_s=0.5)
WriteProgram = Callable[[str], Path]


def _archive(text: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo("ngrok")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder."""
    return [path.name for path in folder.iterdir()]


def _serve_from(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make pyngrok's installer, in any new Python process, download from ``url``."""
    (folder / "sitecustomize.py").write_text(
        "from pyngrok import installer\n"
        f"installer.PLATFORMS = dict.fromkeys(installer.PLATFORMS, {url!r})\n"
    )
    # The child's path is this process's path.
    monkeypatch.syspath_prepend(folder)


def _app(answer: Callable[[int], web.Response]) -> web.Application:
    calls: list[int] = []

    async def handle(_request: web.Request) -> web.Response:
        calls.append(1)
        return answer(len(calls))

    app = web.Application()
    app.router.add_get("/ngrok.tgz", handle)
    return app


async def test_a_missing_agent_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed request is retried; the agent is executable and has a version."""
    agent = _archive("#!/bin/sh\necho ngrok version 3.41.2\n")

    def answer(call: int) -> web.Response:
        return web.Response(status=503) if call == 1 else web.Response(body=agent)

    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setenv("TMPDIR", str(shared))
    program = tmp_path / "cache" / "ngrok"
    async with serving(_app(answer)) as url:
        _serve_from(f"{url}/ngrok.tgz", tmp_path, monkeypatch)
        assert await install.ensure_installed(str(program), QUICK) == "3.41.2"
    assert names_in(program.parent) == ["ngrok"], "a partial download was left"
    assert names_in(shared) == [], "the shared temporary folder was used"


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
async def test_a_companys_certificate_is_trusted_for_the_agent_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """The same variables apply as to downloads of archives and models."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    bundle = tmp_path / "company.pem"
    authority.cert_pem.write_to_path(str(bundle))
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    agent = _archive("#!/bin/sh\necho ngrok version 3.41.2\n")
    app = _app(lambda _call: web.Response(body=agent))
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    url = f"https://localhost:{runner.addresses[0][1]}/ngrok.tgz"
    _serve_from(url, tmp_path, monkeypatch)
    program = str(tmp_path / "cache" / "ngrok")
    try:
        with pytest.raises(NetworkUnreachable):
            await install.ensure_installed(program, QUICK)
        monkeypatch.setenv(variable, str(bundle))
        assert await install.ensure_installed(program, QUICK) == "3.41.2"
    finally:
        await runner.cleanup()


async def test_an_error_status_is_no_network_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A response with an error status is a failed download."""
    async with serving(_app(lambda _call: web.Response(status=404))) as url:
        _serve_from(f"{url}/ngrok.tgz", tmp_path, monkeypatch)
        with pytest.raises(DownloadFailed, match="404"):
            await install.ensure_installed(str(tmp_path / "cache" / "ngrok"), QUICK)


async def test_a_truncated_archive_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a failed download, and no partial agent is kept."""
    cut = _archive("#!/bin/sh\n" + os.urandom(50_000).hex())[:20_000]
    async with serving(_app(lambda _call: web.Response(body=cut))) as url:
        _serve_from(f"{url}/ngrok.tgz", tmp_path, monkeypatch)
        with pytest.raises(DownloadFailed, match="download of the ngrok agent failed"):
            await install.ensure_installed(str(tmp_path / "cache" / "ngrok"), QUICK)
    assert names_in(tmp_path / "cache") == []


async def test_an_unreachable_server_is_a_network_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not reported as a failed download."""
    _serve_from("http://127.0.0.1:9/ngrok.tgz", tmp_path, monkeypatch)
    with pytest.raises(NetworkUnreachable):
        await install.ensure_installed(str(tmp_path / "cache" / "ngrok"), QUICK)


async def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    """A file in place of the agent's folder is an error of ours."""
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DownloadFailed, match="cannot be written to"):
        await install.ensure_installed(str(tmp_path / "cache" / "bin" / "ngrok"), QUICK)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("#!/bin/sh\necho ngrok version 3.29.9\n", "3.29.9 is older than 3.30"),
        ("#!/bin/sh\necho ngrok version 2.3.41\n", "2.3.41 is older than 3.30"),
        ("#!/bin/sh\nexit 3\n", "not a working ngrok agent .exit code 3."),
        ("#!/nowhere/python\n", "cannot be run: No such file"),
        ("\x7fELF of another machine", "cannot be run: Exec format error"),
        ("#!/bin/sh\nsleep 60\n", "did not print its version within 0.5 s"),
        ("#!/bin/sh\n# from pyngrok.ngrok import main\n", "is pyngrok's launcher"),
    ],
)
async def test_a_program_that_cannot_work_is_refused_before_it_is_started(
    program: WriteProgram, text: str, problem: str
) -> None:
    """The error names the program and says what to do."""
    path = program(text)
    began = time.monotonic()
    with pytest.raises(UserActionRequired, match=problem) as caught:
        await install.ensure_installed(str(path), QUICK)
    assert time.monotonic() - began < scaled(2.0)
    assert str(path) in str(caught.value)


async def test_a_program_that_is_not_executable_is_refused(
    program: WriteProgram,
) -> None:
    """The user sees an error of ours, not a PermissionError."""
    path = program("#!/bin/sh\n")
    path.chmod(0o600)
    with pytest.raises(UserActionRequired, match="cannot be run: Permission denied"):
        await install.ensure_installed(str(path), QUICK)


def test_without_a_path_pyngroks_default_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its environment variable has priority, as pyngrok documents."""
    assert install.program_path("/given") == "/given"
    monkeypatch.delenv("PYNGROK_NGROK_PATH", raising=False)
    assert install.program_path("").endswith("ngrok")
    monkeypatch.setenv("PYNGROK_NGROK_PATH", "/elsewhere/ngrok")
    assert install.program_path("") == "/elsewhere/ngrok"


def test_with_a_read_only_home_the_agent_goes_to_its_replacement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that is in home already is used from there."""
    monkeypatch.delenv("PYNGROK_NGROK_PATH", raising=False)
    usual = tmp_path / "home" / "ngrok"
    monkeypatch.setattr(conf, "DEFAULT_NGROK_PATH", str(usual))
    monkeypatch.setattr(install, "home_folder", lambda: tmp_path / "stand-in")
    assert Path(install.program_path("")).is_relative_to(tmp_path / "stand-in")
    usual.parent.mkdir()
    usual.touch(mode=0o755)
    assert install.program_path("") == str(usual)
