"""The tunnel's token: is there one, and is it one at all; it is never shown."""

from __future__ import annotations

import re
from typing import Final

from ..errors import InvalidToken
from ..protocol.finding import Finding, broken, ok, warning
from ..system.credentials import check_token
from .context import DoctorContext

_COPY: Final = "Copy the Authtoken from dashboard.ngrok.com/get-started/your-authtoken."
_USUAL: Final = re.compile(r"[A-Za-z0-9]{20,40}_[A-Za-z0-9]{15,60}")
"""Today's tokens: an id and a secret, as in https://ngrok.com/docs/api."""
_IDS: Final = {"ak_": "an API key's id", "cr_": "a credential's id"}
"""https://ngrok.com/docs/api/resources/api-keys and …/credentials"""


def check_token_shape(case: DoctorContext) -> Finding:
    """Tell whether the token is there and looks like one.

    An API key has the very shape of a token (errors 206 and 207 of ngrok), so the
    two are told apart by where they are kept, not by how they look.
    """
    token = case.token
    if case.rehearsal:
        return ok("token", "A rehearsal needs none.")
    if case.settings.local:
        return ok("token", "Not needed: --local opens no tunnel.")
    if not token.text.strip():
        return broken(
            "token",
            "No ngrok token was found.",
            f"Set NGROK_AUTHTOKEN here{case.platform.or_add_it}, or pass --token "
            "$NAME; --local needs none.",
        )
    where = f"The token from {token.origin}"
    problem = _mistaken(token.text.strip())
    if token.is_api_key:
        problem = "is the same as NGROK_API_KEY: an API key opens no tunnel"
    if problem:
        return broken("token", f"{where} {problem}.", _COPY)
    try:
        text = check_token(token.text)
    except InvalidToken:
        what = f"{where} does not look like one (ERR_NGROK_105)."
        return broken("token", what, f"{_COPY} An API key is something else.")
    if not _USUAL.fullmatch(text):
        what = f"{where} has not the usual shape: two parts with _ between them."
        return warning("token", what, f"{_COPY} Those of ngrok 1 no longer work (106).")
    return ok("token", f"{where} has the shape of one; only ngrok knows if it is good.")


def _mistaken(text: str) -> str:
    """Return what was pasted in place of a token; empty if nothing known."""
    for prefix, what in _IDS.items():
        if text.startswith(prefix):
            return f"is {what}, not the token"
    if text.startswith("$"):
        return "is the name of a variable that was not filled in"
    if "authtoken" in text.lower() or " " in text:
        return "is a whole command or sentence, not the token alone"
    if text[0] in "\"'" or text[-1] in "\"'":
        return "has quotes around it"
    return ""
