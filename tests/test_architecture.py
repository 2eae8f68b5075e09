"""The shape of the program: who may import whom, under which names."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from spicy_avocado_magic.config.api_key_options import KEY_OPTIONS
from spicy_avocado_magic.config.options import OPTIONS
from spicy_avocado_magic.errors import AvocadoError, iter_error_classes

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = "spicy_avocado_magic"
SOURCES: Final = sorted((ROOT / PACKAGE).rglob("*.py"))

LAYERS: Final = (
    ("errors",),
    ("formatting",),
    ("system",),
    ("protocol",),
    ("config",),
    ("engine", "gateway", "tunnel", "rehearsal", "client"),
    ("notebook",),
    ("__init__",),
    ("daemon",),
    ("doctor",),
)
"""Each name imports only from the layers before its own, so that there is no cycle."""

UNREACHED: Final = {
    "notebook": {"engine", "gateway", "tunnel", "rehearsal"},
    "__init__": {"engine", "gateway", "tunnel", "rehearsal"},
    "daemon": {"client", "notebook", "rehearsal"},
    "doctor": {"gateway", "notebook", "rehearsal"},
}
"""Lower layers that a name must not import either."""

NAMES: Final = [name for layer in LAYERS for name in layer]

STARTED_BY_NAME: Final = {
    "client/doctor.py": "doctor",
    "client/launch.py": "daemon",
    "daemon/reaper.py": "daemon.reaper",
    "daemon/rehearsal_process.py": "rehearsal",
}
"""The only modules that name another for ``python -m``."""

SCENARIOS: Final = {
    "engine/test_memory.py",
    "engine/test_proxies.py",
    "gateway/test_aiohttp_internals.py",
    "gateway/test_break_in.py",
    "gateway/test_clients.py",
    "gateway/test_limits.py",
    "gateway/test_overload.py",
    "gateway/test_real_break_in.py",
    "gateway/test_pool.py",
    "gateway/test_real_engine.py",
    "gateway/test_revoking.py",
    "gateway/test_smuggling.py",
}
"""Tests of a folder as a whole, which mirror no module."""

PROVIDER: Final = "ngrok"
PROVIDER_FOLDERS: Final = ("tunnel/ngrok/", "rehearsal/fake_ngrok/")
PROVIDER_ROWS: Final = {"config/tunnel.py", "tunnel/registry.py", "rehearsal/world.py"}
"""Its facts, its classes and its fake: what a second provider gets a row in."""
PROVIDER_NAMES: Final = {
    "config/settings.py": {"ngrok_path"},  # key in files of earlier versions
    "doctor/machine.py": {"pyngrok"},  # a package whose version is reported
    "protocol/state_folder.py": {"ngrok.yml"},  # its name in the state folder
}
"""Names that users know, and that are no reason to know the provider."""

COMMANDS: Final = {"up", "status", "logs", "keys", "doctor", "down", "ask", "model"}
KNOWN_FLAGS: Final = {option.flag for option in (*OPTIONS, *KEY_OPTIONS)} | {
    "--follow",
    "--json",
    "--purge",
    "--report",
    "--watch",
    "--system",
    "--help",
}


def relative(path: Path) -> str:
    """Return a source's path inside the package."""
    return path.relative_to(ROOT / PACKAGE).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    """Return a source, parsed."""
    return ast.parse(path.read_text())


def imported(path: Path) -> Iterator[str]:
    """Yield what a module imports of the package: ``errors``, ``host.board``, ….

    The package itself is an empty text; imports inside functions count as well.
    """
    here = [PACKAGE, *path.relative_to(ROOT / PACKAGE).parts[:-1]]
    for node in ast.walk(tree(path)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [whole(module, alias.name) for alias in node.names]
        for name in names:
            if name == PACKAGE or name.startswith(PACKAGE + "."):
                yield name.removeprefix(PACKAGE).removeprefix(".")


def whole(module: str, name: str) -> str:
    """Return the module meant by ``from module import name``."""
    place = ROOT / module.replace(".", "/") / name
    is_module = place.is_dir() or place.with_suffix(".py").is_file()
    return f"{module}.{name}" if is_module else module


def allowed_tops(path: Path) -> set[str]:
    """Return the first names a module may import from."""
    own = Path(relative(path)).parts[0].removesuffix(".py")
    below = LAYERS[: next(i for i, layer in enumerate(LAYERS) if own in layer)]
    names = {name for layer in below for name in layer}
    return {own} | names - UNREACHED.get(own, set())


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_imports_point_downwards_only(path: Path) -> None:
    """A module imports what its row of the table allows, and nothing else."""
    reached = {name.split(".")[0] or "__init__" for name in imported(path)}
    forbidden = reached - allowed_tops(path)
    assert not forbidden, f"{relative(path)} must not import {sorted(forbidden)}"


def test_every_module_has_a_place_in_the_table() -> None:
    """A new folder or top-level module is entered in the table first."""
    modules = {path.stem for path in (ROOT / PACKAGE).glob("*.py")}
    folders = {path.parent.name for path in (ROOT / PACKAGE).glob("*/__init__.py")}
    assert sorted(modules | folders) == sorted(NAMES)


def test_modules_import_without_a_cycle() -> None:
    """The modules of a folder can be put in an order, too."""
    graph = {
        module_name(path): {name for name in imported(path) if name}
        for path in SOURCES
        if path.name != "__init__.py"
    }
    open_now: list[str] = []
    closed: set[str] = set()

    def visit(name: str) -> None:
        assert name not in open_now, f"a cycle: {[*open_now, name]}"
        if name not in closed:
            open_now.append(name)
            for other in sorted(graph.get(name, ())):
                visit(other)
            closed.add(open_now.pop())

    for name in graph:
        visit(name)


def module_name(path: Path) -> str:
    """Return a source's dotted name inside the package."""
    return relative(path).removesuffix(".py").replace("/", ".")


def test_a_module_is_named_for_a_process_in_one_place_only() -> None:
    """Rehearsal is imported by nobody; each process has one place that starts it."""
    named = {
        relative(path): text.removeprefix(PACKAGE + ".")
        for path in SOURCES
        for text in strings(path)
        if text.startswith(PACKAGE + ".")
    }
    assert named == STARTED_BY_NAME


def files_of_tests(pattern: str) -> Iterator[Path]:
    """Yield our tests' files: what a tool keeps in a dot-folder is its own."""
    for path in (ROOT / "tests").rglob(pattern):
        if not any(part.startswith(".") for part in path.relative_to(ROOT).parts):
            yield path


def test_the_package_has_no_switch_for_faults() -> None:
    """Faults are injected by tests; no variable makes the shipped program fail."""
    word = re.compile(r"(?<![a-z])faults?(?![a-z])", re.IGNORECASE)
    found = [
        f"{relative(path)}: {text}"
        for path in SOURCES
        for text in (relative(path), *strings(path))
        if " " not in text and word.search(text)
    ]
    assert not found, f"a switch for faults is shipped: {found}"


def test_no_module_is_a_drawer() -> None:
    """A file is named for its subject."""
    words = {"utils", "util", "helpers", "helper", "manager", "common"}
    sources = [*SOURCES, *files_of_tests("*.py")]
    drawers = [str(p) for p in sources if words & set(p.stem.split("_"))]
    assert not drawers


def subjects(test: Path) -> Iterator[str]:
    """Yield the modules that a test may mirror, the longest name first."""
    words = test.stem.removeprefix("test_").split("_")
    for count in range(len(words), 0, -1):
        yield "_".join(words[:count])


def test_tests_mirror_the_source() -> None:
    """A test is named for the module that it tests, or for a part of its subject."""
    strays = []
    for test in files_of_tests("test_*.py"):
        inside = test.relative_to(ROOT / "tests")
        if len(inside.parts) == 1 or inside.parts[0] not in NAMES:
            continue
        folder = ROOT / PACKAGE / inside.parent
        if not any(
            (folder / f"{subject}.py").is_file()
            or (folder / f"__{subject}__.py").is_file()
            for subject in subjects(test)
        ):
            strays.append(inside.as_posix())
    assert set(strays) <= SCENARIOS, sorted(set(strays) - SCENARIOS)


def test_the_list_of_scenarios_is_not_stale() -> None:
    """An exception from the pairing is a file that exists."""
    assert all((ROOT / "tests" / name).is_file() for name in SCENARIOS)


@pytest.mark.parametrize(
    "kind", list(iter_error_classes()), ids=lambda kind: kind.__name__
)
def test_an_error_shows_two_lines_and_no_traceback(kind: type[AvocadoError]) -> None:
    """A user sees what happened and what to do, and nothing of our insides."""
    with pytest.raises(kind) as caught:
        raise kind("It broke.", "Repair it.")
    shown = caught.value._render_traceback_()
    assert shown == ["✗ It broke.", "  → Repair it."]


def strings(path: Path) -> Iterator[str]:
    """Yield a module's text constants, docstrings and parts of f-strings included."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_every_command_that_is_mentioned_exists(path: Path) -> None:
    """No remedy sends a user to a command or an option that there is not."""
    for text in strings(path):
        for command, rest in re.findall(r"%avocado_(\w+)([^%]*)", text):
            assert command in COMMANDS, text
            flags = set(re.findall(r"(?<!\S)--[a-z][a-z-]*", rest))
            assert flags <= KNOWN_FLAGS, f"{sorted(flags - KNOWN_FLAGS)} in {text!r}"


def code_names(path: Path) -> Iterator[str]:
    """Yield a module's imports, identifiers, and strings that are names themselves.

    Texts for users and docstrings have spaces or sentence marks, so they are left out.
    """
    for node in ast.walk(tree(path)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names):
                yield module or ""
                yield from (alias.name for alias in names)
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name
            case ast.keyword(arg=str(name)) | ast.alias(asname=str(name)):
                yield name
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Constant(value=str(text)) if re.fullmatch(r"[\w.-]+", text):
                yield text


def provider_names(path: Path) -> set[str]:
    """Return the names in a module's code that are of the tunnel provider."""
    return {name for name in code_names(path) if PROVIDER in name.lower()}


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_only_the_provider_and_its_rows_name_it(path: Path) -> None:
    """A second tunnel provider is a folder, a fake and a row, and no other change."""
    if relative(path).startswith(PROVIDER_FOLDERS) or relative(path) in PROVIDER_ROWS:
        return
    found = provider_names(path)
    assert found == PROVIDER_NAMES.get(relative(path), set()), (
        f"{relative(path)} names the provider: take it from config.tunnel.TUNNEL"
    )


def test_a_name_of_the_provider_is_found_wherever_code_can_have_one(
    tmp_path: Path,
) -> None:
    """The check sees imports, identifiers, arguments and names in strings."""
    path = tmp_path / "module.py"
    path.write_text(
        "from a.ngrok import b\nimport c as ngrok_c\nfrom d import Ngrok\n"
        "class NgrokE:\n    pass\n"
        "def f(ngrok_f):\n    f(ngrok_g=ngrok_f.to_ngrok)\n"
        "h = 'NGROK_H'\ni = 'ngrok says: no'\n"
    )
    assert provider_names(path) == {
        *("a.ngrok", "ngrok_c", "Ngrok", "NgrokE"),
        *("ngrok_f", "ngrok_g", "to_ngrok", "NGROK_H"),
    }


def tracked_files() -> list[Path]:
    """Return the files under version control; skips where there is none."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so the tracked files are unknown")
    listed = subprocess.run(
        [git, "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_the_repository_names_no_machine_paths() -> None:
    """Nothing in it works on one machine alone."""
    places = [f"/{'/'.join(parts)}" for parts in (("tmp", "ava"), ("work", ""))]
    places.append("/{}/".format("root"))
    for path in tracked_files():
        if path.is_file():
            text = path.read_bytes().decode(errors="replace")
            found = [place for place in places if place in text]
            assert not found, f"{path.relative_to(ROOT)} names {found}"


def public_classes() -> Iterator[tuple[str, str]]:
    """Yield the name of each public class and its module."""
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield node.name, relative(path)


def test_a_public_class_name_exists_once() -> None:
    """Whoever greps for a class finds one definition."""
    modules: dict[str, list[str]] = {}
    for name, module in public_classes():
        modules.setdefault(name, []).append(module)
    doubled = {name: found for name, found in modules.items() if len(found) > 1}
    assert not doubled, f"a class name means two things: {doubled}"


BANNED_WORDS: Final = re.compile(
    r"\b(?:told|tells?|telling|said|heard|hears|wish(?:es|ed)?|strangers?|anew|rooms?"
    r"|errands?|keepers?|patience|slips?|aftermath|mend(?:s|ed)?)\b"
    r"|out there|in good order|of its own accord",
    re.IGNORECASE,
)
"""A private dialect: each has a standard term, as ``.github/CONTRIBUTING.md`` says."""

BANNED_NAMES: Final = {"told", "said", "heard", "wish", "mine", "one", "what", "plain"}
"""Names that say nothing about the value; ``what`` stays a key of the event log."""


def docstrings(path: Path) -> Iterator[str]:
    """Yield the docstrings of modules, classes, functions and attributes."""
    for node in ast.walk(tree(path)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield node.value.value


def python_files() -> list[Path]:
    """Return the sources and the tests."""
    return [*SOURCES, *sorted(files_of_tests("*.py"))]


def test_docstrings_are_plain_english() -> None:
    """Docstrings use the field's terms, which a newcomer can search for."""
    found = [
        f"{path.relative_to(ROOT)}: {word!r} in {text.strip().splitlines()[0]!r}"
        for path in python_files()
        for text in docstrings(path)
        for word in BANNED_WORDS.findall(text)
    ]
    assert not found, "\n".join(found)


def names_of_values(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines and names of variables and arguments, not of class fields."""
    fields = {
        id(statement.target)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, ast.AnnAssign)
    }
    for node in ast.walk(tree(path)):
        match node:
            case ast.Name(ctx=ast.Store(), id=name) if id(node) not in fields:
                yield node.lineno, name
            case ast.arg(arg=name):
                yield node.lineno, name
            case _:
                continue


def test_values_are_named_after_what_they_are() -> None:
    """A parsed object is a ``payload``, an item of a loop has a noun."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in python_files()
        for line, name in names_of_values(path)
        if name in BANNED_NAMES
    ]
    assert not found, "\n".join(found)


FEW_LINES: Final = 60
SMALL_FOR_A_REASON: Final = {
    "doctor/checks.py": "the list of all checks, as a newcomer looks for it",
}
"""Modules under ``FEW_LINES`` lines with a single importer, and why they stand."""


def test_a_small_module_with_one_importer_has_a_reason() -> None:
    """What only one module uses, and is short, belongs into that module."""
    importers: dict[str, set[str]] = {}
    for path in SOURCES:
        for name in imported(path):
            importers.setdefault(name, set()).add(module_name(path))
    small = {
        relative(path)
        for path in SOURCES
        if not path.stem.startswith("__")
        if len(path.read_text().splitlines()) < FEW_LINES
        if len(importers.get(module_name(path), set())) == 1
    }
    assert small == set(SMALL_FOR_A_REASON)
