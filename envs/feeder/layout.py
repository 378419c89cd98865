"""Where the nodes of a feeder lie in a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.grid.sweep import R, X
from flexgym.envs.household.params import Floats

if TYPE_CHECKING:
    from flexgym.envs.grid.network import Network


def distance_ohm(network: Network) -> Floats:
    """Impedance between the external grid and each node, shape (nodes,), ohm.

    Referred to the nominal voltage that most buses have.
    """
    levels, counts = np.unique(network.vn_kv, return_counts=True)
    ohm = 1e3 * levels[np.argmax(counts)] ** 2
    step = ohm * np.hypot(network.tree.branch[:, R], network.tree.branch[:, X])
    distance = np.zeros(len(step))
    for k, parent in enumerate(network.tree.parent[1:], start=1):
        distance[k] = distance[parent] + step[k]
    return distance


def tree_layout(parent: NDArray[np.int64]) -> Floats:
    """Places of the nodes of a tree, shape (nodes, 2): depth, and rows packed side by side.

    The largest subtree goes straight on; the others lie above and below it, as near as they can.
    """
    nodes = len(parent)
    children: list[list[int]] = [[] for _ in range(nodes)]
    size = np.ones(nodes, dtype=int)
    for k in range(nodes - 1, 0, -1):
        size[parent[k]] += size[k]
        children[parent[k]].append(k)
    offset = np.zeros(nodes)
    outline: list[Any] = [None] * nodes  # lowest and highest row at each depth below the node
    for k in range(nodes - 1, -1, -1):
        low, high = [0.0], [0.0]
        for child in sorted(children[k], key=lambda c: (-size[c], c)):
            below, above = outline[child]
            outline[child] = None
            # The node's own row is free one depth further on.
            shared = range(min(len(low) - 1, len(below)))
            up = max((high[1 + d] - below[d] + 1.0 for d in shared), default=0.0)
            down = min((low[1 + d] - above[d] - 1.0 for d in shared), default=0.0)
            shift = up if up <= -down else down
            offset[child] = shift
            for d in range(len(below)):
                if d + 1 < len(low):
                    low[d + 1] = min(low[d + 1], below[d] + shift)
                    high[d + 1] = max(high[d + 1], above[d] + shift)
                else:
                    low.append(below[d] + shift)
                    high.append(above[d] + shift)
        outline[k] = low, high
    place = np.zeros((nodes, 2))
    for k in range(1, nodes):
        place[k] = place[parent[k]] + (1.0, offset[k])
    return place


def map_places(network: Network, width: float, height: float) -> Floats:
    """Places of the nodes in a panel, shape (nodes, 2), from (0, 0) to (width, height).

    Coordinates of the buses where the network has them (stretched to fill the panel, at most 2.5
    times; degrees as a local map), else the layout of the tree. A transformer between the
    external grid and all else gets some room.
    """
    parent, room = network.tree.parent, np.array([width, height])
    if network.geo is None:
        place, longest, stretch = tree_layout(parent), np.array([width, 0.3 * height]), np.inf
    else:
        place, longest, stretch = np.full((len(parent), 2), np.nan), np.full(2, np.inf), 2.5
        place[network.bus_node] = network.geo
        span = np.ptp(network.geo, axis=0)
        if span.max() < 2.0 and np.abs(network.geo[:, 1]).max() < 85.0:
            place[:, 0] *= np.cos(np.radians(network.geo[:, 1].mean()))
        for k in np.flatnonzero(np.isnan(place[:, 0])):  # open ends lie a bit aside
            place[k] = place[parent[k]] + 0.03 * span
    below = np.flatnonzero(parent[1:] == 0) + 1
    first = network.tree.element_node[network.trafo_element]
    if len(below) != 1 or below[0] not in first:
        return _fitted(place, room, longest, stretch)
    if network.geo is None:
        gap = np.array([0.38 * min(width, height), 0.0])
        place[0] = place[1]
        place = _fitted(place, room - gap, longest, stretch) + gap
        place[0] = place[1] - gap
        return place
    place = _fitted(place, room, longest, stretch)
    place[0] = _aside(place, parent, 0.15 * min(width, height))
    return _fitted(place, room, np.ones(2), np.inf)


def _aside(place: Floats, parent: NDArray[np.int64], gap: float) -> Floats:
    """Place of node 0, at least so far from node 1 below it, where it hides nothing."""
    if np.hypot(*(place[1] - place[0])) >= gap:
        return place[0]
    share = np.linspace(0.0, 1.0, 13)[:, None, None]
    others = ((1.0 - share) * place[parent[2:]] + share * place[2:]).reshape(-1, 2)
    angles = np.arange(16) * np.pi / 8
    ends = place[1] + gap * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    clear = [np.hypot(*(others - end).T).min(initial=np.inf) for end in ends]
    return ends[np.argmax(np.round(clear, 6))]


def _fitted(place: Floats, room: Floats, longest: Floats, stretch: float) -> Floats:
    """Places moved and scaled into the middle of a room with a margin.

    Args:
        place: Shape (nodes, 2).
        room: Width and height.
        longest: Largest scale of either axis.
        stretch: Largest ratio of the two scales.
    """
    span = np.ptp(place, axis=0)
    scale = 0.86 * room / np.maximum(span, 1e-9 * max(float(span.max()), 1.0))
    scale = np.minimum(scale, longest)
    scale = np.minimum(scale, stretch * scale.min())
    return 0.5 * room + (place - 0.5 * (place.max(axis=0) + place.min(axis=0))) * scale
