"""Text from outside runs no script and fetches nothing in the browser."""

from __future__ import annotations

from typing import Final

from .chromium import Tab
from .conftest import Switch
from .lab import Lab
from .notebook_page import open_cells

ELSEWHERE: Final = "http://elsewhere.invalid/pixel.png"
MARKUP: Final = (
    '<img/src="x"/onerror="window.ran=1"><script>window.ran=2</script>'
    f'<img/src="{ELSEWHERE}">![pixel]({ELSEWHERE})'
)
"""It has no space, so that it is one word of a line."""
TITLE: Final = "\x1b]0;taken-over\x07"
EVIL: Final = MARKUP + TITLE
LOAD: Final = "%load_ext spicy_avocado_magic"
CALL: Final = """\
import http.client, urllib.parse
address = urllib.parse.urlsplit(avocado.local_url)
line = http.client.HTTPConnection(address.netloc)
line.request("GET", "/" + urllib.parse.quote(EVIL), headers={"User-Agent": EVIL})
print(line.getresponse().status)
"""


def require_harmless(tab: Tab, shown: str) -> None:
    """Fail unless the markup is visible as text and had no effect."""
    assert '<img/src="x"' in shown, f"the markup is not shown as text: {shown}"
    require_quiet(tab, shown)


def require_quiet(tab: Tab, shown: str) -> None:
    """Fail if a script ran, or a request left JupyterLab."""
    assert tab.page.evaluate("window.ran") is None, f"it has run: {shown}"
    assert not tab.asked_elsewhere, f"it has fetched {tab.asked_elsewhere}: {shown}"
    assert "taken-over" not in tab.page.title(), "it has changed the title"
    assert "\x1b" not in shown, f"a control character came through: {shown!r}"


def test_the_markup_would_run_as_html(lab: Lab, tab: Tab) -> None:
    """So the other tests would notice it."""
    show = f"from IPython.display import HTML, display\ndisplay(HTML({EVIL!r}))"
    open_cells(tab, lab, show).run("IPython.display")
    tab.page.wait_for_function("window.ran !== undefined")
    assert ELSEWHERE in tab.asked_elsewhere


def test_errors_of_the_engine_are_escaped(
    stand_in: None, switch: Switch, lab: Lab, tab: Tab
) -> None:
    """Its log lines are in the card and in the logs, its error bodies in the card."""
    up, logs = "%avocado_up tiny", "%avocado_logs engine"
    notebook = open_cells(tab, lab, LOAD, up, logs)
    notebook.run(LOAD)
    switch(start=EVIL)
    notebook.run(up)
    require_harmless(tab, notebook.unfold(up))
    require_harmless(tab, notebook.run(logs))
    switch(load=EVIL)
    require_harmless(tab, notebook.run(up))


def test_dollar_signs_are_not_typeset_as_a_formula(
    stand_in: None, switch: Switch, lab: Lab, tab: Tab
) -> None:
    """The page can typeset formulas, but an error with two amounts is not one."""
    up, formula = "%avocado_up tiny", "from IPython.display import HTML\nHTML('$x$')"
    notebook = open_cells(tab, lab, LOAD, up, formula)
    notebook.run(LOAD)
    switch(load="costs $5 or $6")
    notebook.run(up)
    notebook.run(formula)
    # It is typeset after what came before it.
    notebook.wait_part(formula, "mjx-container")
    assert "costs $5 or $6" in notebook.outputs(up)


def test_names_are_escaped(lab: Lab, tab: Tab) -> None:
    """Names of models and keys: the error repeats a refused one."""
    name, up, add = (
        f"EVIL = {EVIL!r}",
        "%avocado_up $EVIL --local",
        "%avocado_keys add $EVIL",
    )
    good = "%avocado_up tiny --local"
    notebook = open_cells(tab, lab, name, LOAD, up, good, add)
    for cell in (name, LOAD):
        notebook.run(cell)
    require_harmless(tab, notebook.run(up))
    notebook.run(good)
    require_harmless(tab, notebook.run(add))


def test_answers_are_escaped(lab: Lab, tab: Tab) -> None:
    """The model repeats the question, which is markup and Markdown."""
    up, ask = "%avocado_up tiny --local", f"%%avocado_ask\n{EVIL}"
    notebook = open_cells(tab, lab, LOAD, up, ask)
    for cell in (LOAD, up):
        notebook.run(cell)
    require_harmless(tab, notebook.run(ask))


def test_headers_and_paths_of_requests_are_escaped(lab: Lab, tab: Tab) -> None:
    """The engine logs a User-Agent and a path that are markup."""
    up, call = "%avocado_up tiny --local", f"EVIL = {MARKUP!r}\n{CALL}"
    cells = (LOAD, up, call, "%avocado_logs", "%avocado_status")
    notebook = open_cells(tab, lab, *cells)
    shown = [notebook.run(cell) for cell in cells]
    assert "404" in shown[2], f"the call did not come through: {shown[2]}"
    require_quiet(tab, "\n".join(shown))
