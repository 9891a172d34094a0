"""The Helm chart: it lints, renders into valid objects of Kubernetes, and asks for no privilege."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from gaitstream.cli import build_parser

CHART = Path(__file__).resolve().parents[2] / "deploy" / "helm" / "gaitstream"
HELM = shutil.which("helm", path=str(Path(sys.executable).parent)) or shutil.which("helm")
pytestmark = pytest.mark.skipif(HELM is None, reason="needs helm: scripts/install-helm.sh .venv")
KUBERNETES = ("1.27", "1.35")
EVERYTHING = {
    "workers": 3,
    "fleet": {"capacity": 12.5, "labels": ["entrance", "gpu"]},
    "environmentSecret": "cameras",
    "events": {"keysSecret": "bus"},
    "handoff": {"enabled": True, "keySecret": "handoff"},
    "journal": {"storageClass": "fast"},
    "gpu": {"count": 1, "runtimeClass": "nvidia"},
    "network": {"cameras": {"cidrs": ["10.1.0.0/16"]}, "database": {"cidrs": ["10.2.0.5/32"]}},
    "imagePullSecrets": [{"name": "registry"}],
    "nodeSelector": {"zone": "a"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
}


def helm(*words: str, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    command = [str(HELM), *words, "--values", "-"]
    return subprocess.run(command, input=json.dumps(values or {}), capture_output=True, text=True)


def render(
    values: dict[str, Any] | None = None, version: str = KUBERNETES[-1], release: str = "site"
) -> list[dict[str, Any]]:
    done = helm(
        "template", release, str(CHART), "--namespace", "walk", "--kube-version", version, values=values
    )
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(documents: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [document for document in documents if document["kind"] == kind]


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["as it comes", "everything"])
def test_it_lints(values: dict[str, Any]) -> None:
    done = helm("lint", "--strict", str(CHART), values=values)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["as it comes", "everything"])
def test_every_object_is_one_of_kubernetes(values: dict[str, Any], version: str) -> None:
    documents = render(values, version)
    kinds = {"StatefulSet", "Service", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy"}
    assert {document["kind"] for document in documents} == kinds
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["as it comes", "everything"])
def test_no_pod_has_a_privilege_or_writes_outside_its_volumes(values: dict[str, Any]) -> None:
    sets = of_kind(render(values), "StatefulSet")
    assert len(sets) == (2 if values else 1)
    for one in sets:
        pod = one["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        [container] = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "privileged": False,
            "capabilities": {"drop": ["ALL"]},
        }
        claims = {claim["metadata"]["name"] for claim in one["spec"]["volumeClaimTemplates"]}
        volumes = {volume["name"] for volume in pod["volumes"]} | claims
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_selectors_find_their_own_pods_alone() -> None:
    documents = render(EVERYTHING)
    labels = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"].items()
        for one in of_kind(documents, "StatefulSet")
    }
    for one in of_kind(documents, "StatefulSet"):
        wanted = one["spec"]["selector"]["matchLabels"].items()
        assert [name for name, held in labels.items() if wanted <= held] == [one["metadata"]["name"]]
    [budget] = of_kind(documents, "PodDisruptionBudget")
    wanted = budget["spec"]["selector"]["matchLabels"].items()
    assert [name for name, held in labels.items() if wanted <= held] == ["site-gaitstream"]


def test_workers_find_the_database_and_are_found() -> None:
    [worker] = of_kind(render(), "StatefulSet")
    [service] = of_kind(render(), "Service")
    assert worker["spec"]["serviceName"] == service["metadata"]["name"]
    [container] = worker["spec"]["template"]["spec"]["containers"]
    secrets = {
        one["name"]: one["valueFrom"]["secretKeyRef"] for one in container["env"] if "FLEET" in one["name"]
    }
    assert secrets["GAITSTREAM_FLEET"] == {"name": "gaitstream-fleet", "key": "url"}
    assert secrets["GAITSTREAM_FLEET_KEY"] == {"name": "gaitstream-fleet", "key": "key"}
    assert "--address=$(POD_NAME).site-gaitstream.walk.svc" in container["args"]
    assert container["livenessProbe"]["exec"]["command"][-1].count("/healthz") == 1
    assert container["readinessProbe"]["exec"]["command"][-1].count("/readyz") == 1


def test_what_it_asks_for_a_gpu_joins_the_other_limits() -> None:
    [worker, _] = sorted(
        of_kind(render(EVERYTHING), "StatefulSet"), key=lambda one: len(one["metadata"]["name"])
    )
    [container] = worker["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"memory": "8Gi", "nvidia.com/gpu": 1}


@pytest.mark.parametrize("keys", [{}, {"events": {"keysSecret": "bus"}}], ids=["open", "with keys"])
def test_the_command_lines_are_ours(keys: dict[str, Any]) -> None:
    values = {"workers": 3, "handoff": {"enabled": True, "keySecret": "handoff"}, **keys}
    [handing] = [
        one for one in of_kind(render(values), "StatefulSet") if "handoff" in one["metadata"]["name"]
    ]
    [container] = handing["spec"]["template"]["spec"]["containers"]
    args = build_parser().parse_args(container["args"])
    assert args.endpoint[-1] == "tcp://site-gaitstream-2.site-gaitstream.walk.svc:5556"
    assert args.insecure is not bool(keys)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"wokers": 3}, "wokers"),
        ({"workers": 0}, "workers"),
        ({"journal": {"size": "8 GB"}}, "size"),
        ({"events": {"keysSecret": "bus"}, "handoff": {"enabled": True}}, "handoff.keySecret"),
        ({"fleet": {"labels": ["north: gate"]}}, "/fleet/labels/0"),
        ({"fleet": {"capacity": 10_001}}, "/fleet/capacity"),
        ({"fleet": {"secret": "Fleet_Secret"}}, "/fleet/secret"),
        ({"disruption": {"maxUnavailable": "many"}}, "/disruption/maxUnavailable"),
        ({"disruption": {"maxUnavailable": -1}}, "/disruption/maxUnavailable"),
        ({"network": {"cameras": {"ports": []}}}, "/network/cameras/ports"),  # else every port were open
        ({"network": {"listeners": [{"matchLabel": {"a": "b"}}]}}, "/network/listeners/0"),  # else every pod
        ({"network": {"listeners": [{}]}}, "/network/listeners/0"),
    ],
)
def test_a_wrong_value_is_named(values: dict[str, Any], said: str) -> None:
    done = helm("template", "site", str(CHART), values=values)
    assert done.returncode != 0
    assert said in done.stderr


def test_names_that_yaml_takes_for_something_else_stay_names() -> None:
    values = {
        "fleet": {"secret": "123", "labels": ["1e3", "on"]},
        "environmentSecret": "true",
        "events": {"keysSecret": "1.5"},
        "handoff": {"enabled": True, "keySecret": "null"},
        "gpu": {"count": 1, "runtimeClass": "on"},
        "disruption": {"maxUnavailable": "50%"},
    }
    documents = render(values)
    for document in documents:
        kubernetes_validate.validate(document, KUBERNETES[-1], strict=True)
    args = [
        word
        for one in of_kind(documents, "StatefulSet")
        for word in one["spec"]["template"]["spec"]["containers"][0]["args"]
    ]
    assert {"--label=1e3", "--label=on"} <= set(args)


@pytest.mark.parametrize("release", ["site", "a" * 53, "hall-" * 10 + "one", "my.site"])
def test_names_are_such_as_services_and_pods_may_have(release: str) -> None:
    documents = render({"handoff": {"enabled": True}}, release=release)
    names = {one["metadata"]["name"] for one in of_kind(documents, "StatefulSet")}
    assert len(names) == 2
    for name in names:
        assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)
        assert len(name) <= 52  # a pod's label has the name, a dash and a hash of ten, in 63 characters
