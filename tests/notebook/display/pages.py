"""States for cards, some with malicious text in every field, and an HTML parser."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from typing import Final

from spicy_avocado_magic.protocol.state import (
    STAGES,
    ApiKeyState,
    Failure,
    ModelState,
    ModelUsage,
    Phase,
    PoolMember,
    Progress,
    Stage,
    State,
    TrafficStats,
)

KEY: Final = "avocado-0123456789abcdef"
EVILS: Final = (
    '<img src=x onerror="alert(1)">',
    "![x](https://evil.example/x.png)",
    "\x1b]0;title\x07bell \x1b[2Jgone",
    "\"'><script>alert(1)</script>",
)
ALLOWED_TAGS: Final = {
    *("style", "div", "span", "b", "code", "pre", "details", "summary"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td"),
}
PULLING: Final = State(
    pid=1,
    models=(ModelState(name="llama3", phase=Phase.STARTING),),
    stages=(
        Stage(
            name="pull",
            component="models",
            phase=Phase.STARTING,
            detail="fetching llama3",
            elapsed_s=12.5,
            progress=Progress(
                done_bytes=10**9, total_bytes=4 * 10**9, rate_bytes_s=5e7
            ),
        ),
        Stage(name="serve", component="engine", phase=Phase.READY, elapsed_s=1.2),
        Stage(name="warm", component="models"),
        Stage(name="tunnel", component="tunnel", phase=Phase.OFF),
    ),
)
FAILURE: Final = Failure(
    kind="EngineFailed",
    problem="The engine died.",
    remedy="Look at its log.",
    log_tail=("first line", "last line"),
)


def failed() -> State:
    """Return a state with an engine that has failed for good."""
    serve = Stage(
        name="serve",
        component="engine",
        phase=Phase.FAILED,
        detail=FAILURE.problem,
        failure=FAILURE,
    )
    return replace(PULLING, stages=(PULLING.stages[0], serve))


def all_of(text: str, *, rehearsal: bool = False) -> State:
    """Return a state with this text in every field that comes from outside."""
    failure = Failure(kind="X", problem=text, remedy=text, log_tail=(text, text))
    stages = tuple(
        Stage(
            name=text,
            component=component,
            phase=phase,
            detail=text,
            failure=failure if phase in (Phase.BACKOFF, Phase.FAILED) else None,
            progress=Progress(done_bytes=1, total_bytes=2),
        )
        for (_, component), phase in zip(STAGES, (*Phase, Phase.FAILED), strict=True)
    )
    return State(
        pid=1,
        rehearsal=rehearsal,
        url=text,
        local_url=text,
        api_key=text,
        key_is_generated=True,
        engine=text,
        compute=text,
        warnings=(text,),
        stages=stages,
        models=(ModelState(name=text, fit=text, failure=failure),),
        keys=(ApiKeyState(name=text, models=(text,)),),
        members=(PoolMember(id=text, models=(text,)),),
        traffic=TrafficStats(public_requests=3, models=(ModelUsage(name=text),)),
        metrics_url=text,
        metrics_token=text,
        log_path=text,
    )


class Page(HTMLParser):
    """Parsed HTML; fails on an element that is left open."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(markup)
        self.close()
        assert self._open == [], f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record an element."""
        self.seen.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the last element."""
        assert self._open.pop() == tag, f"{tag} is closed at a wrong place"

    def handle_data(self, data: str) -> None:
        """Collect the text, without style sheets."""
        if "style" not in self._open:
            self.text += data

    def found(self, name: str, value: str) -> list[dict[str, str | None]]:
        """Return the attributes of all elements that have this one."""
        return [attrs for _, attrs in self.seen if attrs.get(name) == value]

    def require_harmless(self) -> None:
        """Fail if anything could run or be fetched."""
        tags = {tag for tag, _ in self.seen}
        assert tags <= ALLOWED_TAGS, f"{tags - ALLOWED_TAGS} came from outside"
        for tag, attrs in self.seen:
            for name, value in attrs.items():
                assert not name.startswith("on"), f"{tag} has {name}={value}"
                assert name not in ("src", "href"), f"{tag} fetches {value}"
