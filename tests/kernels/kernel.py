"""A real kernel that runs cells, and their output, displays and errors."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from jupyter_client.manager import KernelManager

from tests.machine_speed import scaled

CELL_S = scaled(60.0)
COMMAND = (sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}")


@dataclass(slots=True)
class Output:
    """The output of one cell, as text."""

    texts: list[str] = field(default_factory=list)
    html: list[str] = field(default_factory=list)
    displays: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Displays and updates: type and content of each message."""
    sent_s: list[float] = field(default_factory=list)
    """When the kernel sent each of them, in seconds since the epoch."""
    pages: list[str] = field(default_factory=list)
    """The text that ``?`` shows in a pager."""
    traceback: list[str] = field(default_factory=list)
    error: str = ""
    status: str = ""

    @property
    def text(self) -> str:
        """Streams, plain texts and traceback, in order."""
        return "\n".join([*self.texts, *self.traceback])


class Kernel:
    """Runs cells in a kernel of this Python.

    What ``page`` makes of a message is sent back on the input channel, as the page
    of a platform does.

    Args:
        command: Starts it, with ``{connection_file}``; as a kernelspec's ``argv``.
        launch: Further arguments of ``start_kernel``, such as ``env``.
    """

    def __init__(
        self,
        command: Sequence[str] = COMMAND,
        **launch: Any,
    ) -> None:
        self._manager = KernelManager(kernel_name="python3")
        spec = self._manager.kernel_spec
        assert spec is not None, "this Python has no kernelspec"
        spec.argv = list(command)
        self._manager.start_kernel(**launch)
        self._client: Any = None
        self.page: Callable[[dict[str, Any]], Any] = lambda _message: None
        self._connect()

    def _connect(self) -> None:
        self._client = self._manager.blocking_client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=CELL_S)

    def restart(self) -> None:
        """Restart as the notebook's menu does."""
        self._client.stop_channels()
        self._manager.restart_kernel()
        self._connect()

    def kill(self) -> None:
        """Kill -9, then start a new one, as after a crash."""
        self._client.stop_channels()
        self._manager.restart_kernel(now=True)
        self._connect()

    def interrupt(self) -> None:
        """Interrupt as the notebook's stop button does."""
        self._manager.interrupt_kernel()

    def send(self, code: str, *, allow_stdin: bool = False) -> str:
        """Start a cell and return its message's id, without waiting."""
        # Otherwise a cell that fails aborts one that is sent right after it.
        return str(
            self._client.execute(code, allow_stdin=allow_stdin, stop_on_error=False)
        )

    def answer(self, value: object) -> str:
        """Wait for a prompt, answer it, and return the prompt."""
        message = self._client.get_stdin_msg(timeout=CELL_S)
        assert message["msg_type"] == "input_request", message
        self._client.input(value)
        return str(message["content"]["prompt"])

    def answer_page(self, message_id: str, **answer: object) -> str:
        """Wait for a request to Colab's page, answer it, and return the secret's name.

        What the cell sends meanwhile is passed over.
        """
        while True:
            message = self._client.get_iopub_msg(timeout=CELL_S)
            if message["msg_type"] == "colab_request":
                identity = message["metadata"]["colab_msg_id"]
                self._client.input({"colab_msg_id": identity, "data": answer})
                return str(message["content"]["request"]["key"])
            is_over = message["content"].get("execution_state") == "idle"
            stops_on_exit = message["parent_header"].get("msg_id") == message_id
            assert not (is_over and stops_on_exit), "the page was not asked"

    def complete(self, code: str) -> list[str]:
        """Return the cell with each completion at its end."""
        reply = self._client.complete(code, reply=True, timeout=CELL_S)["content"]
        return [code[: reply["cursor_start"]] + text for text in reply["matches"]]

    def inspect(self, code: str) -> str:
        """Return the text that Shift-Tab shows at the end of a cell."""
        reply = self._client.inspect(code, reply=True, timeout=CELL_S)["content"]
        return str(reply["data"].get("text/plain", ""))

    def run(self, code: str) -> Output:
        """Run a cell and return its output."""
        return self.collect(self.send(code))

    def collect(self, message_id: str, until_text: str = "") -> Output:
        """Return the output of a cell until it is idle, or until a text appears."""
        output, deadline = Output(), time.monotonic() + CELL_S
        while True:
            message = self._client.get_iopub_msg(timeout=deadline - time.monotonic())
            if (reply := self.page(message)) is not None:
                self._client.input(reply)
            if message["parent_header"].get("msg_id") != message_id:
                continue
            content = message["content"]
            self._take(output, message["msg_type"], content)
            if len(output.displays) > len(output.sent_s):
                output.sent_s.append(message["header"]["date"].timestamp())
            if until_text and until_text in output.text + "".join(output.html):
                return output
            if content.get("execution_state") == "idle":
                break
        reply = self._client.get_shell_msg(timeout=CELL_S)
        while reply["parent_header"].get("msg_id") != message_id:
            reply = self._client.get_shell_msg(timeout=CELL_S)
        output.status = reply["content"]["status"]
        pages = reply["content"].get("payload", ())
        output.pages = [page["data"]["text/plain"] for page in pages if "data" in page]
        return output

    @staticmethod
    def _take(output: Output, kind: str, content: dict[str, Any]) -> None:
        if kind == "stream":
            output.texts.append(content["text"])
        elif kind in ("display_data", "update_display_data", "execute_result"):
            output.texts.append(content["data"].get("text/plain", ""))
            output.html.append(content["data"].get("text/html", ""))
            output.displays.append((kind, content))
        elif kind == "error":
            output.error = content["ename"]
            output.traceback = content["traceback"]

    def close(self) -> None:
        """End the kernel."""
        with contextlib.suppress(RuntimeError):
            self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()


@contextlib.contextmanager
def new_kernel(command: Sequence[str] = COMMAND, **launch: Any) -> Iterator[Kernel]:
    """Start a kernel and end it with the block."""
    kernel = Kernel(command, **launch)
    try:
        yield kernel
    finally:
        kernel.close()
