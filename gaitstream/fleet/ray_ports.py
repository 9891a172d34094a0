"""Which of Ray's ports networks reach that the cluster does not use.

Ray's servers listen on every interface of their machine, whatever `--node-ip-address` says. Where the
machine, or its container, has one, that is the one; where it has more, a firewall has to close the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

EVERYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True)
class RayPort:
    """Where a process of Ray listens.

    Attributes:
        process: short name of it: `gcs_server`, `raylet`, `monitor.py`, `ray::WorkerActor`.
        address: of the interface; one of `EVERYWHERE` for all.
        port: number.
    """

    process: str
    address: str
    port: int


def ray_ports() -> list[RayPort]:
    """Where Ray's processes on this machine listen, as far as this user may see them; by process and port."""
    import psutil

    found = {
        RayPort(name, socket.laddr.ip, socket.laddr.port)
        for socket in psutil.net_connections("tcp")
        if socket.status == psutil.CONN_LISTEN and socket.pid and (name := _ray_name(socket.pid))
    }
    return sorted(found, key=lambda port: (port.process, port.port))


def other_interfaces(address: str) -> list[str]:
    """Names of this machine's interfaces that are up and do not carry an address; loopback is none."""
    import psutil

    states = psutil.net_if_stats()
    return sorted(
        name
        for name, carried in psutil.net_if_addrs().items()
        if states[name].isup and "loopback" not in states[name].flags
        and address not in {one.address for one in carried}
    )  # fmt: skip


def describe_exposed(node: str, address: str) -> str | None:
    """What to tell the user of this machine; None where nothing but the cluster's network reaches Ray.

    Args:
        node: its name.
        address: by which the cluster reaches it.
    """
    interfaces = other_interfaces(address)
    ports = [f"{one.process} {one.port}" for one in ray_ports() if one.address in EVERYWHERE]
    if not interfaces or not ports:
        return None
    return (
        f"{node}: Ray listens on every interface ({', '.join(ports)}), not on that of {address} alone; "
        f"close these ports on {', '.join(interfaces)} with a firewall, as docs/fleet.md shows"
    )


def _ray_name(pid: int) -> str | None:
    """Short name of a process of Ray; None for others."""
    import psutil

    try:
        words = psutil.Process(pid).cmdline()
    except psutil.Error:
        return None
    title = words[0] if words else ""
    if title.startswith("ray::"):
        return title.split()[0].partition(".")[0]  # without the call that is under way
    modules = [word for word in words[:4] if word.startswith("ray.")]
    programs = [Path(word).name for word in words[:4] if "/ray/" in word and not word.startswith("-")]
    return next(iter([*modules, *programs]), None)
