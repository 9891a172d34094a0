"""The firewall rules of docs/fleet.md, in network namespaces; and whom `fleet up` warns."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gaitstream.fleet import ray_ports
from gaitstream.fleet.ray_ports import RayPort, describe_exposed, other_interfaces

APART = ("unshare", "-rn")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
PAGE = (Path(__file__).parents[2] / "docs" / "fleet.md").read_text()
LISTEN = "import socket, time; s = socket.create_server(('0.0.0.0', 6400)); print(flush=True); time.sleep(60)"
TRY = "import socket, sys; socket.create_connection((sys.argv[1], 6400), 1)"
STREETS = """
set -e
ip link set lo up
unshare -n sleep 60 & away=$!
trap 'kill $away $listening' EXIT
until [ "$(readlink /proc/$away/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do sleep 0.05; done
for one in eth1=10.9.0 eth2=10.8.0; do
    name=${one%=*} net=${one#*=}
    ip link add $name type veth peer name far-$name netns $away
    ip address add $net.1/24 dev $name; ip link set $name up
    nsenter -t $away -n ip address add $net.2/24 dev far-$name; nsenter -t $away -n ip link set far-$name up
done
exec 3< <(exec "$PYTHON" -c "$LISTEN"); listening=$!; read -u 3
knock() { nsenter -t $away -n "$PYTHON" -c "$TRY" $1 2>&- && echo "$1 open" || echo "$1 closed"; }
knock 10.9.0.1; knock 10.8.0.1
nft -f "$RULES"
knock 10.9.0.1; knock 10.8.0.1
"$PYTHON" -c "$TRY" 127.0.0.1 && echo "lo open"
"""


def test_the_firewall_of_the_documentation_leaves_the_ports_open_on_one_interface(tmp_path: Path) -> None:
    for tool in ("nft", "ip", "nsenter"):
        if shutil.which(tool, path=PATH) is None:
            pytest.skip(f"no {tool} here: apt-get install nftables iproute2 util-linux")
    if subprocess.run(
        ["unshare", "-rn", "nft", "list", "ruleset"], capture_output=True, check=False
    ).returncode:
        pytest.skip("this machine allows no network namespace with a firewall")
    (rules,) = re.findall(r"```nft\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "rules").write_text(rules)
    words = {
        "PATH": PATH,
        "PYTHON": sys.executable,
        "LISTEN": LISTEN,
        "TRY": TRY,
        "RULES": str(tmp_path / "rules"),
    }
    done = subprocess.run(
        [*APART, "bash", "-c", STREETS], env={**os.environ, **words},
        capture_output=True, text=True, check=False, timeout=50,
    )  # fmt: skip
    open_all = ["10.9.0.1 open", "10.8.0.1 open"]
    assert done.stdout.splitlines() == [*open_all, "10.9.0.1 open", "10.8.0.1 closed", "lo open"], done.stderr


def test_a_machine_is_named_where_other_networks_reach_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psutil", reason="needs the extra [cluster]")
    found = [RayPort("gcs_server", "::", 6379), RayPort("ray::RuntimeEnvAgent", "10.0.0.1", 6382)]
    monkeypatch.setattr(ray_ports, "ray_ports", lambda: found)
    monkeypatch.setattr(ray_ports, "other_interfaces", lambda address: ["eth2"])
    told = describe_exposed("gpu-1", "10.0.0.1")
    assert told is not None
    assert told.startswith("gpu-1: Ray listens on every interface (gcs_server 6379), not")
    assert "on eth2 with a firewall" in told
    assert describe_exposed("gpu-1", "10.0.0.1") == told
    monkeypatch.setattr(ray_ports, "other_interfaces", lambda address: [])
    assert describe_exposed("gpu-1", "10.0.0.1") is None


def test_the_interface_of_an_address_is_no_other_one() -> None:
    psutil = pytest.importorskip("psutil", reason="needs the extra [cluster]")
    every = set(other_interfaces("192.0.2.255"))
    assert "lo" not in every
    for name in every:
        addresses = [one.address for one in psutil.net_if_addrs()[name]]
        assert name not in other_interfaces(addresses[0])
