"""The release host leads where GitHub's does, and its checksums are true."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from spicy_avocado_magic.rehearsal.fake_downloads.releases import (
    RELEASES_PATH,
    asset_names,
    create_releases,
)

from ..conftest import Called, Open, call


@pytest.fixture
async def releases(open_app: Open) -> str:
    """The URL of the releases."""
    return f"http://{await open_app(create_releases(latest='0.33.0'))}{RELEASES_PATH}"


async def _follow(url: str, **sent: str) -> Called:
    redirect = await call(url)
    assert redirect.status == 302, f"{url}: {redirect.status}"
    root = url.partition(RELEASES_PATH)[0]
    return await call(root + redirect.headers["Location"], headers=sent)


async def test_latest_leads_to_the_tag(releases: str) -> None:
    """The version is read from where the redirect goes."""
    response = await call(f"{releases}/latest")
    assert response.headers["Location"].endswith("/releases/tag/v0.33.0")
    assert (await _follow(f"{releases}/latest")).status == 200


async def test_checksums_are_those_of_the_archives(releases: str) -> None:
    """Each line is a digest and a name with ``./`` before it."""
    base = f"{releases}/download/v0.34.1"
    listing = (await _follow(f"{base}/sha256sum.txt")).content.decode()
    assert len(listing.splitlines()) == 3
    for line in listing.splitlines():
        digest, name = line.split("  ./")
        content = (await _follow(f"{base}/{name}")).content
        assert hashlib.sha256(content).hexdigest() == digest, f"{name}: wrong digest"


async def test_a_half_fetched_archive_can_be_resumed(releases: str) -> None:
    """The second half of an archive joins the first."""
    url = f"{releases}/download/v0.34.1/ollama-linux-amd64.tar.zst"
    whole = await _follow(url)
    half = len(whole.content) // 2
    asked = {"Range": f"bytes={half}-", "If-Range": whole.headers["ETag"]}
    rest = await _follow(url, **asked)
    assert rest.status == 206
    assert whole.content[:half] + rest.content == whole.content


@pytest.mark.parametrize(
    "path", ["v0.11.3/sha256sum.txt", "v1.0.0/sha256sum.txt", "v0.34.1/other.tgz"]
)
async def test_what_was_never_released_is_404(releases: str, path: str) -> None:
    """Too old, too new, or no such asset."""
    assert (await call(f"{releases}/download/{path}")).status == 404


def test_linux_archives_are_zstandard_since_0_14() -> None:
    """Older releases have a gzip under another name."""
    assert "ollama-linux-arm64.tar.zst" in asset_names("0.14.0")
    assert "ollama-linux-arm64.tgz" in asset_names("0.13.5")
    assert not asset_names("0.34.1-beta")


async def test_a_real_engine_is_offered_for_this_platform_alone(
    open_app: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that cannot run here is served under another platform's name."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ollama").write_bytes(b"program")
    app = create_releases(engine_tree=tmp_path)
    monkeypatch.setattr("sys.platform", "linux")
    base = f"http://{await open_app(app)}{RELEASES_PATH}/download/v0.34.1"
    assert (await call(f"{base}/ollama-darwin.tgz")).status == 404
    assert (await call(f"{base}/ollama-linux-amd64.tar.zst")).status == 302
