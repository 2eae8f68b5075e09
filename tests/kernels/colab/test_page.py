"""The stand-in for Colab blocks and raises as Colab does, in a real kernel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernels.kernel import Kernel

from .page import ColabPage, colab_kernel

ASK = """
from google.colab import userdata
from tests.colab_stand_in import Error
try:
    print("got", userdata.get({name!r}))
except Exception as error:
    print(type(error).__name__, isinstance(error, Error), error)
"""


@pytest.fixture(scope="module")
def page() -> ColabPage:
    """Return a page with two secrets; the notebook has access to one of them."""
    return ColabPage(secrets={"OPEN": "a secret", "SHUT": "x"}, closed={"SHUT"})


@pytest.fixture(scope="module")
def kernel(page: ColabPage) -> Iterator[Kernel]:
    """Start one kernel for all tests."""
    with colab_kernel(page, timeout_s=0.5) as started:
        yield started


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("OPEN", "got a secret"),
        ("SHUT", "NotebookAccessError False"),
        ("NONE", "SecretNotFoundError True"),
        ("TWO WORDS", "ValueError False"),
        ("", "ValueError False"),
    ],
)
def test_a_secret_is_read_from_the_page_or_fails_with_its_own_error(
    kernel: Kernel, name: str, expected: str
) -> None:
    """Colab's errors have no common base class to catch."""
    output = kernel.run(ASK.format(name=name)).text
    assert expected in output, f"{name!r}: {output}"


def test_a_closed_page_blocks_until_the_timeout(
    kernel: Kernel, page: ColabPage
) -> None:
    """As when VS Code or a script runs on Colab's machine."""
    page.is_open = False
    try:
        code = "import time\nbegan = time.monotonic()\n" + ASK.format(name="OPEN")
        output = kernel.run(code + "print(time.monotonic() - began >= 0.5)").text
    finally:
        page.is_open = True
    assert "TimeoutException True" in output, output
    assert output.rstrip().endswith("True"), f"it did not block: {output}"


def test_an_error_of_the_page_reaches_the_cell(kernel: Kernel, page: ColabPage) -> None:
    """It is none of the three that Colab documents."""
    page.error = "no such session"
    try:
        output = kernel.run(ASK.format(name="OPEN")).text
    finally:
        page.error = ""
    assert "MessageError True no such session" in output, output


def test_the_module_is_imported_before_the_first_cell(kernel: Kernel) -> None:
    """Programs detect Colab by it."""
    output = kernel.run("import sys\nprint('google.colab' in sys.modules)").text
    assert "True" in output, "the kernel has not imported it"
