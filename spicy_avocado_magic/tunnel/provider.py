"""The seam for tunnel providers: what one must, may and need not implement.

A new provider is a folder beside ``ngrok/`` with these two classes, its row of facts
(``config.tunnel``), its row in ``tunnel.registry``, and a fake for the rehearsal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from ..config.timeouts import Timeouts
from ..errors import AvocadoError
from ..system.processes import Identity

SessionEvent = Literal["lost", "established"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelEvents:
    """Callbacks of a tunnel; all of them are called in the event loop.

    Attributes:
        on_line: A line of the provider's log, without the credential.
        on_spawn: A process was started; called before its endpoint exists, so that
            it is on record when the daemon is killed.
        on_session: The connection to the provider's edge was lost, or is back. After
            ``connect`` it counts as established. May be left uncalled.
    """

    on_line: Callable[[str], None]
    on_spawn: Callable[[Identity], None]
    on_session: Callable[[SessionEvent], None]


class Tunnel(Protocol):
    """One public URL at a time. All methods must be implemented."""

    async def connect(
        self,
        upstream_url: str,
        *,
        domain: str = "",
        pool: bool = False,
        traffic_policy: str = "",
    ) -> str:
        """Make the upstream public and return its URL: scheme and host, no path.

        It may be called again after a failure. Whatever an earlier call left is ended
        first; a call that fails or is cancelled leaves nothing running.

        Args:
            upstream_url: The gateway on loopback. Requests keep method, path, query,
                headers and body; responses are streamed, each byte at once.
            domain: Host name to ask for; empty is the account's usual one.
            pool: Share the URL with others that also pool; ``EndpointUnavailable`` if
                the provider cannot.
            traffic_policy: ``TunnelProvider.traffic_policy()``, or empty.

        Raises:
            InvalidToken, EndpointUnavailable, UserActionRequired: If no further
                attempt can help.
            TrafficPolicyRejected: If only the traffic policy is refused.
            NetworkUnreachable: If the provider cannot be reached.
            TunnelFailed: Otherwise.
        """

    async def is_healthy(self) -> bool:
        """Return whether the program answers in time; the URL is probed elsewhere."""

    async def wait_exit(self) -> None:
        """Return as soon as the tunnel has ended; never if nothing of it can end."""

    async def close(self, grace_s: float) -> None:
        """End the tunnel and its processes within ``grace_s`` and a few seconds."""


class TunnelProvider(Protocol):
    """A provider without state: it makes tunnels and explains its answers.

    ``create_tunnel``, ``write_config`` and ``read_token`` must be implemented. The
    others need not be: the defaults inherited from this class suit a provider that has
    no traffic policy and no program to install.
    """

    def create_tunnel(
        self,
        *,
        program: str,
        config_path: Path,
        timeouts: Timeouts,
        events: TunnelEvents,
    ) -> Tunnel:
        """Return a tunnel that is not open yet.

        Args:
            program: The user's or the rehearsal's program; empty is the usual one.
            config_path: What ``write_config`` wrote. Every process of the tunnel is
                the leader of a session and has this path among its arguments: orphans
                of a daemon that was killed are found by it.
            timeouts: ``agent_start_s``, ``agent_check_timeout_s``, ``tunnel_stop_s``.
            events: Callbacks.
        """

    def write_config(self, path: Path, token: str, edge_address: str = "") -> None:
        """Store the credential in a file that only its owner can read.

        Args:
            path: Replaced whole; the token is kept nowhere else.
            token: It has the shape of ``Credential.shape``.
            edge_address: ``host:port`` to connect to; empty is the real service.

        Raises:
            OSError: If it cannot be written.
        """

    def read_token(self, path: Path) -> str:
        """Return the token of a file that ``write_config`` wrote.

        Raises:
            OSError, ValueError, KeyError: If it cannot be read.
        """

    def traffic_policy(self) -> str:
        """Return what makes the edge refuse requests without a key; empty if nothing.

        Public routes of the gateway, its probes and requests of web pages must pass.
        """
        return ""

    def explain_response(
        self, status: int, headers: Mapping[str, str], body: str
    ) -> AvocadoError | None:
        """Return the error that the edge answered in the gateway's place, if it did.

        ``TrafficPolicyRejected`` stands for a refusal by our own traffic policy.
        """
        del status, headers, body
        return None

    async def install(self, program: str, timeouts: Timeouts) -> str:
        """Make sure that the program is there and works, and return its version.

        Args:
            program: As for ``create_tunnel``.
            timeouts: Time limits.

        Raises:
            NetworkUnreachable, DownloadFailed: If it cannot be downloaded.
            UserActionRequired: If the program there cannot be used.
        """
        del program, timeouts
        return ""

    def program_path(self, program: str) -> Path | None:
        """Return where the program is, or will be installed; None if there is none."""
        del program
        return None

    def download_url(self) -> str:
        """Return the URL from which the program is downloaded; empty if none is."""
        return ""
