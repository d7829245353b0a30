"""Nodes read lately, up to a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from checkpoints.format.ids import ChunkId
    from checkpoints.tree.node import Node

CACHE_BYTES_MAX = 32 * 1024 * 1024
"""Some three hundred nodes, a quarter of a million entries."""


class NodeCache:
    """What was used least lately goes first. Threads and trees may share it."""

    def __init__(self, bytes_max: int = CACHE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._nodes: OrderedDict[ChunkId, Node] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, chunk: ChunkId) -> Node | None:
        with self._lock:
            node = self._nodes.get(chunk)
            if node is not None:
                self._nodes.move_to_end(chunk)
            return node

    def put(self, chunk: ChunkId, node: Node) -> None:
        with self._lock:
            if chunk in self._nodes:
                return
            self._nodes[chunk] = node
            self._bytes += node.raw_bytes
            while self._bytes > self._bytes_max and len(self._nodes) > 1:
                _, oldest = self._nodes.popitem(last=False)
                self._bytes -= oldest.raw_bytes
