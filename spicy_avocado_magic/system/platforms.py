"""Where we run, as one table of rows: what tells a platform, and what holds there.

A row says only what is documented or was read in a source, and names it above; what
is not known stays empty. Sources without an address are the platform's own variables
as other programs read them (tqdm, plotly, litdata, pyngrok's users).
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
    """Return where the example for Datadog is: in the wheel, else in the checkout."""
    installed = package / "datadog"
    return str(installed) if installed.is_dir() else "examples/datadog"


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """One kind of place where notebooks run; any one of its marks tells it."""

    name: str
    variables: tuple[str, ...] = ()
    """Marks in the environment, which all our processes see."""
    files: tuple[str, ...] = ()
    """Marks on disk."""
    modules: tuple[str, ...] = ()
    """Marks among what the kernel has imported; nothing is imported to find out."""
    names: tuple[str, ...] = ()
    """Marks among the notebook's own variables."""
    library_path: str = ""
    """Where its NVIDIA driver libraries are, if the loader does not know."""
    scratch: tuple[str, ...] = ()
    """Folders that may lie on a larger disk than the home folder does."""
    drive: str = ""
    """Where a drive that outlives the session is mounted, once the user does so."""
    secrets: str = ""
    """Where a token is kept there, as the end of "add it …"."""
    ports: tuple[int, ...] = ()
    """Ports that the platform itself listens on."""
    limits: str = ""
    """How long a session lasts, in one sentence."""
    policy: str = ""
    """What its terms say about services and tunnels, in one sentence."""
    offer: str = ""
    """How metrics can be read by what is here, in one sentence."""

    @property
    def or_add_it(self) -> str:
        """A clause that says where a token is kept; empty where that is not known."""
        return f", add it {self.secrets}" if self.secrets else ""

    @property
    def terms(self) -> str:
        """Limits and policy in one line; empty where neither is known."""
        return " ".join(text for text in (self.limits, self.policy) if text)


PLATFORMS: Final = (
    # Kaggle's image is built on Colab's and carries its variables: test it first.
    # Kaggle/docker-python; kaggle.com/docs/notebooks (which says 20 idle minutes) and
    # …/docs/efficient-gpu-usage (which says 60)
    Platform(
        name="Kaggle",
        variables=("KAGGLE_KERNEL_RUN_TYPE",),
        library_path="/usr/local/nvidia/lib64",
        scratch=("/kaggle/temp",),
        secrets="under Add-ons → Secrets",
        limits="A session lasts 12 hours at most, or 20 to 60 minutes without you.",
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
        secrets="as a secret (the key symbol on the left) that this notebook may read",
        ports=(8080,),
        limits="A free session lasts about 12 hours, or 90 minutes without you.",
        policy="Colab's terms restrict serving and remote use, above all on free "
        "runtimes; your access may be limited.",
    ),
    # docs.aws.amazon.com/sagemaker/latest/dg/studio-updated-jl-image-specifications
    # (home is a volume of its own). Studio and notebook instances have the file; the
    # larger instances have that disk, which is lost when they stop.
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
        "your plan says otherwise.",
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
        limits="A free notebook ends after 6 hours; what is in /storage outlives it.",
    ),
    # docs.github.com/codespaces: default environment variables; timeout period;
    # account-specific secrets
    Platform(
        name="Codespaces",
        variables=("CODESPACES",),
        secrets="under Settings → Codespaces → Secrets, then restart the codespace",
        limits="A codespace stops after 30 minutes without you, unless you have set "
        "another time; requests do not count.",
    ),
    # mybinder.readthedocs.io/en/latest/about/user-guidelines; variables of mybinder's
    # Helm chart. A Binder is a JupyterHub as well.
    Platform(
        name="Binder",
        variables=("BINDER_LAUNCH_HOST", "BINDER_REPO_URL", "BINDER_REQUEST"),
        limits="On mybinder.org a session has 2 GB of memory and about 1 Mbit/s out, "
        "and ends after 10 idle minutes or about 6 hours.",
        policy="mybinder.org asks you to use no keys or tokens there, and bans "
        "repositories that send much out.",
    ),
    # jupyterhub/spawner.py, get_env
    Platform(
        name="JupyterHub",
        variables=("JUPYTERHUB_API_URL", "JUPYTERHUB_SERVICE_PREFIX"),
    ),
    # tqdm and plotly tell it by the variable; its Jupyter extension sets the name
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
    """What can be seen of a platform from inside; by default what is seen here."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    exists: Callable[[str], bool] = os.path.exists
    modules: Container[str] = field(default_factory=lambda: sys.modules)
    names: Container[str] = field(
        # IPython's variables are those of the module ``__main__``.
        default_factory=lambda: vars(sys.modules["__main__"])
    )

    def matches(self, platform: Platform) -> bool:
        """Return whether one of a platform's marks is among them."""
        return (
            any(mark in self.environ for mark in platform.variables)
            or any(mark in self.modules for mark in platform.modules)
            or any(mark in self.names for mark in platform.names)
            or any(self.exists(mark) for mark in platform.files)
        )


def detect_platforms(traces: PlatformSignals | None = None) -> tuple[Platform, ...]:
    """Return the rows that hold, the one that decides first.

    Several may: a JupyterHub runs on Binder, VS Code is attached to a codespace, an
    Agent of Datadog watches either. The terminal holds where nothing else does.
    """
    traces = traces or PlatformSignals()
    found = tuple(row for row in PLATFORMS[:-1] if traces.matches(row))
    return found or PLATFORMS[-1:]


def detect_platform(traces: PlatformSignals | None = None) -> Platform:
    """Return the row that decides about folders, libraries, ports and policy."""
    return detect_platforms(traces)[0]


def first_run_notices(
    platforms: Sequence[Platform], *, wants_metrics: bool = False
) -> tuple[str, ...]:
    """Return what the first ``up`` says of where it runs, a line each.

    One line of session limits and policy, of the row that decides; and what any of
    the rows offers, unless metrics are on already.
    """
    told = platforms[0].terms
    offers = () if wants_metrics else tuple(x.offer for x in platforms if x.offer)
    return ((told,) if told else ()) + offers
