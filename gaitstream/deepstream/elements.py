"""A DeepStream graph as data: elements with properties, links, and where probes hang."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from gaitstream.deepstream.table import Value, check_pad, check_property


@dataclass(frozen=True)
class Node:
    """One element."""

    kind: str
    """Its GStreamer factory."""
    name: str
    properties: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class PadLink:
    """From one element to the next; a pad is named where it has to be requested."""

    source: str
    target: str
    source_pad: str = ""
    target_pad: str = ""


@dataclass(frozen=True)
class Graph:
    """Elements and links in order of flow."""

    nodes: tuple[Node, ...]
    links: tuple[PadLink, ...]
    probes: tuple[tuple[str, str], ...]
    """Element name and what hangs on its source pad: `muxer`, `detection`, `crop`, `next`, `copy`."""

    def node(self, name: str) -> Node:
        """The element of that name."""
        return {node.name: node for node in self.nodes}[name]

    def problems(self) -> list[str]:
        """What DeepStream would not accept, or silently ignore; empty when nothing."""
        found = [p for n in self.nodes for k, v in n.properties.items() for p in check_property(n.kind, k, v)]
        names = Counter(node.name for node in self.nodes)
        found += [f"{times} elements are called {name!r}" for name, times in names.items() if times > 1]
        kinds = {node.name: node.kind for node in self.nodes}
        for link in self.links:
            found += check_pad(kinds[link.source], link.source_pad) if link.source_pad else []
            found += check_pad(kinds[link.target], link.target_pad) if link.target_pad else []
        return found


def queue(name: str) -> Node:
    """A thread boundary that holds a few batches; by bytes and time there is no limit."""
    return Node("queue", name, {"max-size-buffers": 4, "max-size-bytes": 0, "max-size-time": 0})
