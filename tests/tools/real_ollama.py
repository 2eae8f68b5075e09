"""Build real Ollama servers for the tests: ``python -m tests.tools.real_ollama DIR``.

Prints the paths of the executables, joined by ``os.pathsep``, for the variable
``AVOCADO_REAL_OLLAMA``; what is already built is left as it is. Needs ``go``, and
for 0.11.4 a C++ compiler; a first build takes some four minutes on two cores.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

CURRENT: Final = "0.34.1"
OLDER: Final = "0.11.4"
"""The last with inference built in, the first that the product accepts."""

_LAUNCHER: Final = Path(__file__).with_name("llama_server.py")


def build(folder: Path) -> list[Path]:
    """Return both executables under ``folder``, built where they were missing.

    Raises:
        subprocess.CalledProcessError: If a build fails; its output was shown.
    """
    executables = [_install(folder / version, version) for version in (CURRENT, OLDER)]
    _install_llama_server(folder / CURRENT / "lib" / "ollama", folder / "venv")
    return executables


def _install(prefix: Path, version: str) -> Path:
    executable = prefix / "bin" / "ollama"
    if not executable.exists():
        sys.stderr.write(f"building ollama {version} …\n")
        package = "github.com/ollama/ollama"
        stamp = f"-ldflags=-X={package}/version.Version={version}"
        subprocess.run(
            ["go", "install", stamp, f"{package}@v{version}"],
            env=os.environ | {"GOBIN": str(executable.parent)},
            stdout=sys.stderr,
            check=True,
        )
    return executable


def _install_llama_server(libraries: Path, environment: Path) -> None:
    """Write the launcher, with a Python of its own that outlives any other's."""
    python = environment / "bin" / "python"
    if not python.exists():
        venv.create(environment, with_pip=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "xllamacpp"]
        subprocess.run(install, stdout=sys.stderr, check=True)
    libraries.mkdir(parents=True, exist_ok=True)
    launcher = libraries / "llama-server"
    source = _LAUNCHER.read_text(encoding="utf-8")
    launcher.write_text(f"#!{python}\n{source}", encoding="utf-8")
    launcher.chmod(0o755)


def main() -> None:
    """Build into the folder named on the command line and print the paths."""
    if len(sys.argv) != 2 or shutil.which("go") is None:
        sys.exit("usage: python -m tests.tools.real_ollama DIR (needs go on PATH)")
    executables = build(Path(sys.argv[1]).resolve())
    sys.stdout.write(os.pathsep.join(map(str, executables)) + "\n")


if __name__ == "__main__":
    main()
