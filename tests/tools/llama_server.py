"""A ``llama-server`` for a real Ollama: llama.cpp from PyPI's ``xllamacpp``.

Ollama ≥ 0.30 runs models in a child of this name and passes all settings as arguments.
``real_ollama`` installs this file with a first line that names its Python.
"""

from __future__ import annotations

import argparse
import signal
import sys
from typing import Any


def main() -> None:
    """Serve one model, or answer the questions asked before there is one."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--list-devices", action="store_true")
    parser.add_argument("--model", default="")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("-c", dest="context", type=int, default=0)
    parser.add_argument("-np", dest="slots", type=int, default=1)
    parser.add_argument("-b", dest="batch", type=int, default=512)
    parser.add_argument("--embedding", "--embeddings", action="store_true")
    wanted, _passed_over = parser.parse_known_args()
    if wanted.list_devices:
        sys.stdout.write("Available devices:\n")
        return
    # Ollama waits for this line, up to 30 s (``discover/llama_server.go``).
    sys.stderr.write("system_info: CPU\n")
    sys.stderr.flush()
    if wanted.model:
        server = _serve(wanted)
        sys.stderr.write(f"listening on {server.listening_address}\n")
        sys.stderr.flush()
    signal.pause()


def _serve(wanted: argparse.Namespace) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = wanted.model
    params.hostnames = [wanted.host]
    params.port = wanted.port
    params.n_ctx = wanted.context
    params.n_parallel = wanted.slots
    params.n_batch = wanted.batch
    params.use_jinja = True
    params.embedding = wanted.embedding
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
