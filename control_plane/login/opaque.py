"""Credentials that mean nothing by themselves: random, handed out once, kept as a digest only.

A plain SHA-256 is enough for them. Slow password hashes defend guessable secrets; 256 random
bits can't be guessed, and a request must not cost a tenth of a second.
"""

from __future__ import annotations

import hashlib
import secrets

from common.secret import Secret

_RANDOM_BYTES = 32
TEXT_LENGTH_MAX = 200
"""Longer than any credential of ours; anything above is refused before it is hashed."""

API_TOKEN_PREFIX = "studios_"  # a fixed beginning lets secret scanners find leaked ones


def generate(prefix: str = "") -> Secret:
    """Return a new credential, safe in URLs, cookies and headers."""
    return Secret(prefix + secrets.token_urlsafe(_RANDOM_BYTES))


def digest(text: str) -> str:
    """Return what the database keeps of a credential."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def is_plausible(text: str) -> bool:
    """Say whether `text` could be a credential at all; saves the database the question."""
    return 0 < len(text) <= TEXT_LENGTH_MAX and text.isascii()
