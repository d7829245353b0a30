"""The store of collections, which keeps its own time."""

from tests.checkpoints.collecting.conftest import clock, found, store

__all__ = ["clock", "found", "store"]
