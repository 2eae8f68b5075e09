"""A real kernel, and what a cell of it printed, displayed and raised."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from jupyter_client.manager import KernelManager

CELL_S = 60.0
COMMAND = (sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}")


@dataclass(slots=True)
class Output:
    """Everything that came of one cell, as text."""

    texts: list[str] = field(default_factory=list)
    html: list[str] = field(default_factory=list)
    displays: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Displays and their updates: the message's type and its content."""
    traceback: list[str] = field(default_factory=list)
    error: str = ""
    status: str = ""

    @property
    def text(self) -> str:
        """Streams, plain texts and traceback, in the order in which they came."""
        return "\n".join([*self.texts, *self.traceback])


class Kernel:
    """Runs cells in a kernel of this very Python.

    What ``answer`` makes of a message is sent back on the input channel, as the page
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
        self.answer: Callable[[dict[str, Any]], Any] = lambda _message: None
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

    def send(self, code: str) -> str:
        """Start a cell and return its message's id, without waiting."""
        return str(self._client.execute(code, allow_stdin=False))

    def run(self, code: str) -> Output:
        """Run a cell and return what came of it."""
        return self.collect(self.send(code))

    def collect(self, message_id: str, until_text: str = "") -> Output:
        """Return what a cell sends until it is idle, or until a text appears."""
        output, deadline = Output(), time.monotonic() + CELL_S
        while True:
            message = self._client.get_iopub_msg(timeout=deadline - time.monotonic())
            if (reply := self.answer(message)) is not None:
                self._client.input(reply)
            if message["parent_header"].get("msg_id") != message_id:
                continue
            content = message["content"]
            self._take(output, message["msg_type"], content)
            if until_text and until_text in output.text + "".join(output.html):
                return output
            if content.get("execution_state") == "idle":
                break
        done = self._client.get_shell_msg(timeout=CELL_S)
        while done["parent_header"].get("msg_id") != message_id:
            done = self._client.get_shell_msg(timeout=CELL_S)
        output.status = done["content"]["status"]
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
