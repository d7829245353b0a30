"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# No example fails for taking long: the machine may have other things to do.
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")
