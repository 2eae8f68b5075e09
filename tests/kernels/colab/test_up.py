"""The magics in a kernel as Colab starts it, with the stand-in for its page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spicy_avocado_magic import down, status
from tests.kernels.cells import new_kernel_home
from tests.kernels.kernel import Kernel
from tests.main_job.home import Home

from .page import ColabPage, colab_kernel

KEY = "a-key-kept-by-colab"


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Give the kernel a home of its own."""
    with new_kernel_home(monkeypatch) as made:
        yield made


@pytest.fixture
def page() -> ColabPage:
    """Return a page with two secrets; the notebook has access to one of them."""
    return ColabPage(secrets={"MY_KEY": KEY, "SHUT": KEY}, closed={"SHUT"})


@pytest.fixture
def kernel(home: Home, page: ColabPage) -> Iterator[Kernel]:
    """Start a kernel of Colab's with the extension loaded."""
    with colab_kernel(page, timeout_s=1.0) as started:
        assert started.run("%load_ext spicy_avocado_magic").status == "ok"
        assert not page.asked, "loading the extension asks for secrets"
        yield started
        down()


def test_a_secret_of_colab_is_used_as_a_key_and_its_terms_are_shown_once(
    kernel: Kernel, page: ColabPage
) -> None:
    """The cell blocks until the page has answered; the key itself is not shown."""
    first = kernel.run("%avocado_up tiny --rehearse --local --api-key $MY_KEY")
    assert first.status == "ok", first.text
    assert page.asked == ["MY_KEY"]
    assert "A free session lasts about 12 hours" in first.text
    assert "Colab's terms restrict serving" in first.text
    assert KEY not in first.text + "".join(first.html), "the key is shown"
    assert f"key {KEY}" in kernel.run("print('key', avocado.api_key)").text
    again = kernel.run("%avocado_up tiny --rehearse --local")
    assert again.status == "ok", again.text
    assert "12 hours" not in again.text, "the terms are shown again"


@pytest.mark.parametrize("name", ["SHUT", "NOWHERE"])
def test_a_secret_that_cannot_be_read_is_named(
    kernel: Kernel, page: ColabPage, name: str
) -> None:
    """The message is short, and nothing is started."""
    output = kernel.run(f"%avocado_up tiny --rehearse --local --api-key ${name}")
    assert output.status == "error", output.text
    assert page.asked == [name]
    assert name in output.text
    assert "Traceback" not in output.text
    assert status() is None, "something was started"


def test_a_closed_page_does_not_block_the_cell(kernel: Kernel, page: ColabPage) -> None:
    """As when the kernel is used from somewhere else than Colab's page."""
    page.is_open = False
    output = kernel.run("%avocado_up tiny --rehearse --local --api-key $MY_KEY")
    assert output.status == "error", output.text
    assert "MY_KEY" in output.text
    assert status() is None, "something was started"
