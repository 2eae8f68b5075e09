"""All tunnel providers by name: a row for each, beside its facts in ``config.tunnel``.

It is apart from the Protocol because each provider imports that.
"""

from __future__ import annotations

from typing import Final

from .ngrok.provider import NgrokProvider
from .provider import TunnelProvider

PROVIDERS: Final[dict[str, TunnelProvider]] = {"ngrok": NgrokProvider()}
