"""The tunnel's token: is there one, and is it one at all; it is never shown."""

from __future__ import annotations

from typing import Final

from ..config.credentials import check_token
from ..config.tunnel import TUNNEL
from ..errors import InvalidToken
from ..protocol.finding import Finding, broken, ok, warning
from .context import DoctorContext

_CREDENTIAL: Final = TUNNEL.credential
_COPY: Final = f"Copy the {_CREDENTIAL.name} from {_CREDENTIAL.page}."


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
            f"No {TUNNEL.name} token was found.",
            f"Set {_CREDENTIAL.variable} here{case.platform.or_add_it}, or pass "
            "--token $NAME; --local needs none.",
        )
    where = f"The token from {token.origin}"
    problem = _mistaken(token.text.strip())
    if token.is_api_key:
        problem = (
            f"is the same as {_CREDENTIAL.other_variable}: an API key opens no tunnel"
        )
    if problem:
        return broken("token", f"{where} {problem}.", _COPY)
    try:
        text = check_token(token.text)
    except InvalidToken:
        what = f"{where} does not look like one ({_CREDENTIAL.malformed_code})."
        return broken("token", what, f"{_COPY} An API key is something else.")
    if not _CREDENTIAL.usual_shape.fullmatch(text):
        what = f"{where} has not the usual shape: two parts with _ between them."
        return warning("token", what, f"{_COPY} {_CREDENTIAL.outdated_hint}")
    return ok(
        "token",
        f"{where} has the shape of one; only {TUNNEL.name} knows if it is good.",
    )


def _mistaken(text: str) -> str:
    """Return what was pasted in place of a token; empty if nothing known."""
    for prefix, what in _CREDENTIAL.other_prefixes.items():
        if text.startswith(prefix):
            return f"is {what}, not the token"
    if text.startswith("$"):
        return "is the name of a variable that was not filled in"
    if "authtoken" in text.lower() or " " in text:
        return "is a whole command or sentence, not the token alone"
    if text[0] in "\"'" or text[-1] in "\"'":
        return "has quotes around it"
    return ""
