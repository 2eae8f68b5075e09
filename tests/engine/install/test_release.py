"""Which Ollama is used: the one on PATH, or which archive."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.config.validators import OLLAMA_VERSION
from spicy_avocado_magic.engine.install.release import (
    archive_for,
    find_on_path,
    read_version,
    resolve_version,
)
from spicy_avocado_magic.errors import (
    DownloadFailed,
    PlatformUnsupported,
    UsageError,
)

from ..conftest import Serve


def stub(folder: Path, script: str) -> Path:
    """Write an ``ollama`` that is a shell script."""
    path = folder / "ollama"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("script", "version"),
    [
        ("echo 'ollama version is 0.34.1'", "0.34.1"),
        ("echo Warning: no server; echo Warning: client version is 0.30.0", "0.30.0"),
        ("echo ollama version is 0.1.0; echo client version is 0.12.0", "0.12.0"),
        ("echo 'ollama version is 0.0.0'", "0.0.0"),
        ("echo 'ollama version is 0.11.3'", None),
        ("[ $OLLAMA_HOST = 127.0.0.1:1 ] && echo ollama version is 0.30.0", "0.30.0"),
        ("echo 'something else'", None),
        ("exit 77", None),
    ],
)
def test_an_ollama_on_path_is_used_if_it_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, version: str | None
) -> None:
    """The client's own version counts; a development build has none."""
    path = stub(tmp_path, script)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    found = find_on_path()
    assert (None if found is None else found.version) == version
    if found is not None:
        assert (found.path, found.origin) == (path, "PATH")


def test_nothing_on_path_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an ollama there is simply none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_on_path() is None


def test_an_ollama_that_hangs_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that never answers is not waited for."""
    monkeypatch.setattr(
        "spicy_avocado_magic.engine.install.release._VERSION_TIMEOUT_S", 0.2
    )
    assert read_version(stub(tmp_path, "exec sleep 60"), origin="PATH") is None


def test_the_version_of_a_real_ollama_is_read(real_ollama: Path) -> None:
    """The real program is understood, with no server running."""
    found = read_version(real_ollama, origin="PATH")
    assert found is not None, "the real ollama was not understood"
    assert found.version == real_ollama.parent.parent.name


@pytest.mark.parametrize(
    ("version", "system", "machine", "name"),
    [
        ("0.34.1", "Linux", "x86_64", "ollama-linux-amd64.tar.zst"),
        ("0.14.0", "Linux", "aarch64", "ollama-linux-arm64.tar.zst"),
        ("0.13.9", "Linux", "x86_64", "ollama-linux-amd64.tgz"),
        ("0.34.1", "Darwin", "arm64", "ollama-darwin.tgz"),
    ],
)
def test_each_machine_has_its_archive(
    version: str, system: str, machine: str, name: str
) -> None:
    """Name and address follow the release page."""
    archive = archive_for(version, "https://x/releases", system, machine)
    assert archive.name == name
    base = f"https://x/releases/download/v{version}"
    assert archive.url == f"{base}/{name}"
    assert archive.checksums_url == f"{base}/sha256sum.txt"


@pytest.mark.parametrize(
    ("system", "machine"), [("Windows", "AMD64"), ("Linux", "ppc")]
)
def test_machines_without_an_archive_are_refused(system: str, machine: str) -> None:
    """No archive is one clear error."""
    with pytest.raises(PlatformUnsupported, match=machine):
        archive_for("0.34.1", "https://x", system, machine)


@pytest.mark.parametrize(
    ("requested", "version"), [("", OLLAMA_VERSION), ("0.20.0", "0.20.0")]
)
async def test_a_named_version_needs_no_network(
    timeouts: Timeouts, requested: str, version: str
) -> None:
    """Only ``latest`` asks the release page."""
    assert await resolve_version(requested, "http://127.0.0.1:1", timeouts) == version


async def test_a_version_too_old_is_refused(timeouts: Timeouts) -> None:
    """The message names the oldest that works."""
    with pytest.raises(UsageError, match=r"0\.11\.4 or newer"):
        await resolve_version("0.11.3", "http://127.0.0.1:1", timeouts)


@pytest.mark.parametrize(
    ("location", "version"),
    [("/ollama/releases/tag/v0.40.2", "0.40.2"), ("/ollama/releases", None)],
)
async def test_latest_is_where_the_release_page_leads(
    timeouts: Timeouts, serve: Serve, location: str, version: str | None
) -> None:
    """The redirect's tag is the version; without one, the way out is named."""

    async def redirect(_request: web.Request) -> web.Response:
        raise web.HTTPFound(location)

    app = web.Application()
    app.router.add_get("/releases/latest", redirect)
    url = f"{await serve(app)}/releases"
    if version is not None:
        assert await resolve_version("latest", url, timeouts) == version
    else:
        with pytest.raises(DownloadFailed, match="--ollama-version"):
            await resolve_version("latest", url, timeouts)
