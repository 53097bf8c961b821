"""The Kubernetes files fit the published schemas, the settings and the rules."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from avatar_telemetry.config.settings import Settings
from avatar_telemetry.http.excluded import ExcludedUrls
from tests.support.build_servers import operator_schemas
from tests.support.paths import DEPLOY, REPOSITORY
from tests.support.requirements import unavailable

FOLDER = DEPLOY / "kubernetes"
DEPLOYMENT, SERVICE = yaml.safe_load_all((FOLDER / "avatar.yaml").read_text(encoding="utf-8"))
MONITOR = yaml.safe_load((FOLDER / "podmonitor.yaml").read_text(encoding="utf-8"))
POD = DEPLOYMENT["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
SECRETS = {"metrics-token": "token-of-the-tests", "hash-key": "key-of-the-tests"}


def environment() -> dict[str, str]:
    """Return the variables of the container, with values for the references."""
    found = {}
    for each in CONTAINER["env"]:
        source = each.get("valueFrom", {})
        secret = source.get("secretKeyRef")
        found[each["name"]] = SECRETS[secret["key"]] if secret else each.get("value", "pod-1")
    return found


def prometheus_rule() -> Any:
    """Return what the script prints."""
    spec = importlib.util.spec_from_file_location("rule", FOLDER / "prometheus_rule.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.prometheus_rule()


def strict(schema: Any) -> Any:
    """Refuse unknown properties, and leave out patterns of Go that Python cannot compile."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        key: strict(value)
        for key, value in schema.items()
        if not (key == "pattern" and isinstance(value, str) and "(?i)" in value)
    }
    if kept.get("type") == "object" and "properties" in kept:
        kept.setdefault("additionalProperties", False)
    return kept


def check_monitoring(resource: Any, plural: str) -> None:
    """Validate a resource of the Prometheus Operator.

    Raises:
        jsonschema.ValidationError: it does not fit its definition.
    """
    path = operator_schemas() / f"monitoring.coreos.com_{plural}.yaml"
    if not path.exists():
        unavailable("needs the schemas: python3 tests/support/build_servers.py operator-schemas")
    definition = yaml.safe_load(path.read_text(encoding="utf-8"))
    schema = strict(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {}
    jsonschema.validate(resource, schema)


@pytest.mark.parametrize("resource", [DEPLOYMENT, SERVICE], ids=["deployment", "service"])
def test_schemas_of_kubernetes(resource: Any) -> None:
    """No unknown field, no wrong type."""
    kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        wrong = {**resource, "spec": {**resource["spec"], "replica": 1}}
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


def test_schemas_of_the_operator() -> None:
    """The rules are those of Prometheus, all of them."""
    check_monitoring(MONITOR, "podmonitors")
    rule = prometheus_rule()
    check_monitoring(rule, "prometheusrules")
    files = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
    groups = [group for path in files for group in yaml.safe_load(path.read_text())["groups"]]
    assert rule["spec"]["groups"] == groups
    with pytest.raises(jsonschema.ValidationError):
        check_monitoring({**MONITOR, "spec": {"selectors": {}}}, "podmonitors")


def test_settings() -> None:
    """Each variable is allowed; the runtime directory is in memory, and the root is read-only."""
    environ = environment()
    settings = Settings.from_env(environ)
    assert settings.export_enabled and settings.metrics_token == SECRETS["metrics-token"]
    assert settings.metrics_exporters == ("none",)
    mounts = {each["name"]: each["mountPath"] for each in CONTAINER["volumeMounts"]}
    volumes = {each["name"]: each["emptyDir"] for each in POD["spec"]["volumes"]}
    assert set(mounts) == set(volumes)
    assert Path(environ["PROMETHEUS_MULTIPROC_DIR"]).is_relative_to(mounts["telemetry"])
    assert volumes["telemetry"]["medium"] == "Memory"
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"] is True
    assert POD["spec"]["securityContext"]["runAsNonRoot"] is True


def test_probes_make_no_spans() -> None:
    """The page of the probes is excluded, and its port is that of the image."""
    excluded = ExcludedUrls(Settings.from_env(environment()).excluded_urls)
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = CONTAINER[name]["httpGet"]
        assert excluded.contains({"PATH_INFO": probe["path"], "wsgi.url_scheme": "http"})
        assert probe["port"] == "http"
    assert not excluded.contains({"PATH_INFO": "/avatar/0", "wsgi.url_scheme": "http"})
    (port,) = CONTAINER["ports"]
    image = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    assert f"EXPOSE {port['containerPort']}\n" in image
    assert f"--uid {POD['spec']['securityContext']['runAsUser']} " in image


def test_labels_and_times() -> None:
    """Selectors find the pods; the end of a pod has time for everything that happens in it."""
    labels = POD["metadata"]["labels"]
    for selector in (
        DEPLOYMENT["spec"]["selector"]["matchLabels"],
        SERVICE["spec"]["selector"],
        MONITOR["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    assert labels[MONITOR["spec"]["jobLabel"]].startswith("ivatar")
    assert set(MONITOR["spec"]["podTargetLabels"]) <= set(labels)
    pause = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    flush = Settings.from_env(environment()).flush_timeout
    assert POD["spec"]["terminationGracePeriodSeconds"] > 30 + flush + pause


def test_version_of_the_image() -> None:
    """The tag is the version of the package."""
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    tag = CONTAINER["image"].rpartition(":")[2]
    assert f'version = "{tag}"' in project or "dynamic" in project
