"""Tests, a folder for each package; `support` holds what several of them use."""
