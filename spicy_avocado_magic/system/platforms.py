"""Notebook platforms: a table of the signs that identify each, and its properties.

Each row contains only documented facts or facts read in a source, which is named above
the row; an unknown property stays empty. Signs without a source address are variables
that other programs read as well (tqdm, plotly, litdata, pyngrok's users).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from . import PACKAGE_FOLDER


def datadog_example(package: Path = PACKAGE_FOLDER) -> str:
    """Return the folder of the Datadog example: in the wheel, else in the checkout."""
    installed = package / "datadog"
    return str(installed) if installed.is_dir() else "examples/datadog"


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A kind of environment in which notebooks run; any one sign identifies it."""

    name: str
    variables: tuple[str, ...] = ()
    """Environment variables that are signs; all our processes inherit them."""
    files: tuple[str, ...] = ()
    """Paths that are signs."""
    modules: tuple[str, ...] = ()
    """Modules that are signs if the kernel has imported them already."""
    names: tuple[str, ...] = ()
    """Variables of the notebook that are signs."""
    library_path: str = ""
    """Folder of the NVIDIA driver libraries, if the loader does not search it."""
    scratch: tuple[str, ...] = ()
    """Folders that may be on a larger disk than the home folder."""
    drive: str = ""
    """Mount point of a drive that outlives the session; the user mounts it."""
    secrets: str = ""
    """The place for a token, as the end of "add it …"."""
    ports: tuple[int, ...] = ()
    """Ports on which the platform itself listens."""
    limits: str = ""
    """The length of a session, in one sentence."""
    policy: str = ""
    """The terms about services and tunnels, in one sentence."""
    offer: str = ""
    """A way to read metrics with a program that runs here, in one sentence."""

    @property
    def or_add_it(self) -> str:
        """A clause with the place for a token; empty if it is unknown."""
        return f", add it {self.secrets}" if self.secrets else ""

    @property
    def terms(self) -> str:
        """Limits and policy in one line; empty if neither is known."""
        return " ".join(text for text in (self.limits, self.policy) if text)


PLATFORMS: Final = (
    # First, because Kaggle's image is built on Colab's and has its variables.
    # Kaggle/docker-python; kaggle.com/docs/notebooks (which says 20 idle minutes) and
    # …/docs/efficient-gpu-usage (which says 60)
    Platform(
        name="Kaggle",
        variables=("KAGGLE_KERNEL_RUN_TYPE",),
        library_path="/usr/local/nvidia/lib64",
        scratch=("/kaggle/temp",),
        secrets="under Add-ons → Secrets",
        limits="A session lasts at most 12 hours; it ends after 20 to 60 idle minutes.",
        policy="Kaggle's terms ban many forms of tunneling; "
        "your account may be restricted.",
    ),
    # googlecolab/backend-info and colabtools; research.google.com/colaboratory/faq
    Platform(
        name="Google Colab",
        variables=("COLAB_RELEASE_TAG", "COLAB_GPU"),
        modules=("google.colab",),
        library_path="/usr/lib64-nvidia",
        scratch=("/content",),
        drive="/content/drive",
        secrets="as a secret (the key symbol on the left) with notebook access",
        ports=(8080,),
        limits="A free session lasts about 12 hours; it ends after 90 idle minutes.",
        policy="Colab's terms restrict serving and remote use, especially on free "
        "runtimes; your access may be limited.",
    ),
    # docs.aws.amazon.com/sagemaker/latest/dg/studio-updated-jl-image-specifications
    # (home is a separate volume). Studio and notebook instances have the file; larger
    # instances have that disk; its content is lost when they stop.
    Platform(
        name="SageMaker",
        files=("/opt/ml/metadata/resource-metadata.json",),
        scratch=("/mnt/sagemaker-nvme",),
    ),
    # docs.databricks.com: "Use a secret in … environment variable"; the Clusters API
    # (instance store volumes are mounted at /local_disk0)
    Platform(
        name="Databricks",
        variables=("DATABRICKS_RUNTIME_VERSION",),
        scratch=("/local_disk0",),
        secrets="as {{secrets/SCOPE/KEY}} in a variable of the compute, or by "
        "dbutils.secrets.get in a cell",
    ),
    # deepnote.com/docs/environment-variables and …/long-running-jobs
    Platform(
        name="Deepnote",
        variables=("DEEPNOTE_PROJECT_ID",),
        secrets="as an Environment variables integration",
        limits="The machine stops 15 minutes after the last run of a cell, unless "
        "your plan allows more.",
    ),
    # jetbrains.com/help/datalore/environment-variables
    Platform(
        name="Datalore",
        variables=("DATALORE_USER",),
        secrets="as an environment variable of this notebook",
    ),
    # lightning.ai/docs/platform/build/ai-studio/managed-secrets
    Platform(
        name="Lightning",
        variables=("LIGHTNING_CLOUD_SPACE_ID",),
        secrets="under Global settings → Secrets",
    ),
    # docs.digitalocean.com/reference/paperspace (secrets are variables);
    # docs.paperspace.com/gradient/notebooks/notebook-storage; Paperspace/Docs
    Platform(
        name="Paperspace",
        variables=("PAPERSPACE_NOTEBOOK_REPO_ID",),
        secrets="as a secret of the project or team",
        limits="A free notebook ends after 6 hours; files in /storage are kept.",
    ),
    # docs.github.com/codespaces: default environment variables; timeout period;
    # account-specific secrets
    Platform(
        name="Codespaces",
        variables=("CODESPACES",),
        secrets="under Settings → Codespaces → Secrets, then restart the codespace",
        limits="A codespace stops after 30 idle minutes, unless you have set another "
        "time; requests to the URL do not count as activity.",
    ),
    # mybinder.readthedocs.io/en/latest/about/user-guidelines; variables of mybinder's
    # Helm chart. A Binder is a JupyterHub as well.
    Platform(
        name="Binder",
        variables=("BINDER_LAUNCH_HOST", "BINDER_REPO_URL", "BINDER_REQUEST"),
        limits="On mybinder.org a session has 2 GB of memory and about 1 Mbit/s out, "
        "and ends after 10 idle minutes or about 6 hours.",
        policy="mybinder.org asks you not to use keys or tokens there, and bans "
        "repositories that send out much data.",
    ),
    # jupyterhub/spawner.py, get_env
    Platform(
        name="JupyterHub",
        variables=("JUPYTERHUB_API_URL", "JUPYTERHUB_SERVICE_PREFIX"),
    ),
    # tqdm and plotly read the variable; its Jupyter extension sets the name
    Platform(name="VS Code", variables=("VSCODE_PID",), names=("__vsc_ipynb_file__",)),
    # docs.datadoghq.com/containers: cluster_agent/admission_controller for variables,
    # kubernetes/apm and developers/dogstatsd/unix_socket for sockets
    Platform(
        name="a container that Datadog monitors",
        variables=("DD_AGENT_HOST", "DD_TRACE_AGENT_URL", "DD_DOGSTATSD_URL"),
        files=(
            "/var/run/datadog/apm.socket",
            "/var/run/datadog/apm/apm.socket",
            "/var/run/datadog/dsd.socket",
            "/etc/datadog-agent/datadog.yaml",
        ),
        offer="A Datadog Agent is here: --metrics-port 9464 and the configuration in "
        f"{datadog_example()} let it read requests and tokens.",
    ),
    # jupyter_client/launcher.py sets the variable for each kernel
    Platform(name="Jupyter", variables=("JPY_PARENT_PID",), modules=("ipykernel",)),
    Platform(name="a terminal"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformSignals:
    """Where signs of a platform are looked up; by default in this process."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    exists: Callable[[str], bool] = os.path.exists
    modules: Container[str] = field(default_factory=lambda: sys.modules)
    names: Container[str] = field(
        # IPython's variables are those of the module ``__main__``.
        default_factory=lambda: vars(sys.modules["__main__"])
    )

    def matches(self, platform: Platform) -> bool:
        """Return whether at least one of a platform's signs is present."""
        return (
            any(mark in self.environ for mark in platform.variables)
            or any(mark in self.modules for mark in platform.modules)
            or any(mark in self.names for mark in platform.names)
            or any(self.exists(mark) for mark in platform.files)
        )


def detect_platforms(traces: PlatformSignals | None = None) -> tuple[Platform, ...]:
    """Return the matching rows, the most specific first.

    Several can match: JupyterHub runs on Binder, VS Code attaches to a codespace, a
    Datadog Agent monitors either. The terminal is the fallback.
    """
    traces = traces or PlatformSignals()
    found = tuple(row for row in PLATFORMS[:-1] if traces.matches(row))
    return found or PLATFORMS[-1:]


def detect_platform(traces: PlatformSignals | None = None) -> Platform:
    """Return the row for folders, libraries, ports and policy: the first match."""
    return detect_platforms(traces)[0]


def first_run_notices(
    platforms: Sequence[Platform], *, wants_metrics: bool = False
) -> tuple[str, ...]:
    """Return the notices about the platform for the first ``up``, a line each.

    One line has the session limits and policy of the first row. The offers of all
    rows follow, unless metrics are on already.
    """
    terms = platforms[0].terms
    offers = () if wants_metrics else tuple(x.offer for x in platforms if x.offer)
    return ((terms,) if terms else ()) + offers
