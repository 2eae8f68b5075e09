"""The example for Datadog fits what the service really exposes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import yaml
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from spicy_avocado_magic.config.limits import Limits
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.config.validators import validate_address
from spicy_avocado_magic.gateway.admission import AdmissionQueue
from spicy_avocado_magic.gateway.counters import Metrics
from spicy_avocado_magic.gateway.openmetrics import PATH, MetricsCollector

FOLDER: Final = Path(__file__).parents[1] / "examples" / "datadog"
KNOWN_OPTIONS: Final = {
    "allow_redirects",
    "auth_token",
    "histogram_buckets_as_distributions",
    "metrics",
    "namespace",
    "openmetrics_endpoint",
    "raw_metric_prefix",
    "skip_proxy",
    "tags",
    "use_latest_spec",
}
"""Those in use, all of the Agent's own list: the two files that the page names."""
TAGS_OF_THE_AGENT: Final = {
    "cluster",
    "cluster_id",
    "cluster_name",
    "clusterid",
    "clustername",
    "env",
    "host",
    "host_name",
    "hostname",
    "service",
    "version",
}
"""Its checks may not send these (``base/utils/tagging.py`` of datadog-checks-base)."""


def instance() -> dict[str, Any]:
    """Return the one instance of the check."""
    config = yaml.safe_load((FOLDER / "openmetrics.d" / "conf.yaml").read_text())
    assert set(config) == {"init_config", "instances"}
    (item,) = config["instances"]
    named: dict[str, Any] = item
    return named


def exposed() -> dict[str, Metric]:
    """Return all families by name, without our prefix."""
    places = AdmissionQueue(Limits.from_timeouts(Timeouts()))
    _, text = MetricsCollector(Metrics(), places).page()
    read: Any = text_string_to_metric_families
    families = read(text.decode())
    return {family.name.removeprefix("avocado_"): family for family in families}


def collected() -> dict[str, str]:
    """Return what is collected, and as what it is sent."""
    return {name: sent for each in instance()["metrics"] for name, sent in each.items()}


def test_every_metric_that_is_exposed_is_collected_and_no_other() -> None:
    """A metric that is renamed or new is noticed here, not on a dashboard."""
    assert instance()["raw_metric_prefix"] == "avocado_"
    assert set(collected()) == set(exposed())
    names = collected().values()
    assert len(set(names)) == len(collected()), "two metrics are sent as one"
    assert all(re.fullmatch(r"[a-z_.]+", name) for name in names)


def test_the_page_lists_every_metric_by_the_name_it_arrives_with() -> None:
    """Counters arrive as ``.count``; the rest as they are named."""
    page = (FOLDER / "README.md").read_text()
    arriving = {
        f"avocado.{sent}" + (".count" if exposed()[name].type == "counter" else "")
        for name, sent in collected().items()
    }
    assert set(re.findall(r"^\| `(avocado\.[a-z_.]+)`", page, re.MULTILINE)) == arriving


def test_every_option_is_one_that_the_agent_has() -> None:
    """A misspelt option would be passed over in silence."""
    assert set(instance()) == KNOWN_OPTIONS
    keys = {tag.partition(":")[0] for tag in instance()["tags"]}
    labels = {"key", "model", "direction", "status"}
    assert not (keys | labels) & TAGS_OF_THE_AGENT, "the Agent refuses such a tag"


def test_the_token_is_read_from_a_file_and_sent_as_bearer() -> None:
    """No secret is in the configuration itself."""
    token = instance()["auth_token"]
    assert token["reader"]["type"] == "file"
    assert token["writer"] == {
        "type": "header",
        "name": "Authorization",
        "value": "Bearer <TOKEN>",
        "placeholder": "<TOKEN>",
    }
    assert token["reader"]["path"] in (FOLDER / "README.md").read_text()


def test_the_endpoint_is_the_one_that_the_page_opens() -> None:
    """Port and path are those of the first step."""
    page = (FOLDER / "README.md").read_text()
    port = re.findall(r"^ +%avocado_up --metrics-port (\S+)$", page, re.MULTILINE)
    (address,) = map(validate_address, port)
    assert instance()["openmetrics_endpoint"] == f"http://{address}{PATH}"
