"""ngrok as a tunnel provider."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pyngrok import installer

from ...config.timeouts import Timeouts
from ...errors import AvocadoError, TrafficPolicyRejected
from ..provider import TunnelEvents, TunnelProvider
from .agent import NgrokAgent
from .config import read_token, write_config
from .error_codes import code_of, to_error
from .install import ensure_installed, program_path
from .traffic_policy import DENIED_HEADER, require_key_policy

_ERROR_STATUS = 400


class NgrokProvider(TunnelProvider):
    """Tunnels of the ngrok agent."""

    def create_tunnel(
        self,
        *,
        program: str,
        config_path: Path,
        timeouts: Timeouts,
        events: TunnelEvents,
    ) -> NgrokAgent:
        """Return an agent that does not run yet."""
        return NgrokAgent(
            program=program, config_path=config_path, timeouts=timeouts, events=events
        )

    def write_config(self, path: Path, token: str, edge_address: str = "") -> None:
        """Write the agent's configuration file."""
        write_config(path, token, edge_address)

    def read_token(self, path: Path) -> str:
        """Return the token in the agent's configuration file."""
        return read_token(path)

    def traffic_policy(self) -> str:
        """Return the Traffic Policy that answers 401 to requests without a key."""
        return require_key_policy()

    def explain_response(
        self, status: int, headers: Mapping[str, str], body: str
    ) -> AvocadoError | None:
        """Return the error of a refusal by our policy, or of an ERR_NGROK code."""
        if DENIED_HEADER in headers:
            return TrafficPolicyRejected(
                "ngrok's edge refuses requests that our Traffic Policy allows.",
                "The tunnel is opened again without the Traffic Policy.",
            )
        text = f"{headers.get('Ngrok-Error-Code', '')} {body}"
        if status >= _ERROR_STATUS and code_of(text) is not None:
            return to_error(text)
        return None

    async def install(self, program: str, timeouts: Timeouts) -> str:
        """Download the agent unless it is there, and return its version."""
        return await ensure_installed(program_path(program), timeouts)

    def program_path(self, program: str) -> Path:
        """Return the agent's path; by default where pyngrok keeps its own."""
        return Path(program_path(program))

    def download_url(self) -> str:
        """Return the URL of the agent's archive for this machine."""
        return installer.get_ngrok_cdn_url("3")
