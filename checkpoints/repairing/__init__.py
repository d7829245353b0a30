"""Mends what damage left whole: nothing relies on it any more, and what is left is found again.

**Start here:** `repair`.

- `repair`   a repair, step by step
- `places`   where chunks are by the packs' own tables, whatever indexes say
- `needs`    what a generation needs and no index finds
- `repaired` what was done, or would be
"""
