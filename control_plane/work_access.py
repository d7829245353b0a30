"""How the buckets of work directories are reached. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from checkpoints.storage.urls import Access


@dataclass(frozen=True, slots=True)
class WorkAccess:
    """What addresses of work directories don't say."""

    scheme: str = ""
    """Of the addresses that it is for: one provider's keys are no other's business."""
    access: Access = field(default_factory=Access)

    def of(self, url: str) -> Access:
        """Return what belongs to an address; without credentials the machine's own are found."""
        return self.access if self.scheme and urlsplit(url).scheme == self.scheme else Access()
