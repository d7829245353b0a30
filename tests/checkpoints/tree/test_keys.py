"""Keys stand for paths, and the ranges of folders are what is in them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from checkpoints.format.damage import DamagedError
from checkpoints.tree.keys import (
    END_KEY,
    ROOT_KEY,
    below_ranges,
    check,
    folder_range,
    key_of,
    name_of,
    path_of,
)
from tests.support.trees import ANY_PATHS, PATHS

NOT_PATHS = [b"/a", b"a/", b"a//b", b".", b"a/..", b"../a", b"a/./b", b"a\0b", b"x" * 256]


@settings(deadline=None)
@given(ANY_PATHS)
def test_a_path_comes_back_from_its_key(path: bytes) -> None:
    assert path_of(key_of(path)) == path
    assert name_of(key_of(path)) == path.rpartition(b"/")[2]


def test_the_root_folders_key_is_the_smallest() -> None:
    assert key_of(b"") == ROOT_KEY
    assert path_of(ROOT_KEY) == b""
    assert key_of(b"\x01") > ROOT_KEY


@settings(deadline=None)
@given(folder=PATHS, path=PATHS)
def test_ranges_of_a_folder_are_what_is_in_it(folder: bytes, path: bytes) -> None:
    key = key_of(path)
    first, last = folder_range(folder)
    assert (first <= key < last) == (path.rpartition(b"/")[0] == folder)
    inside = any(start <= key < stop for start, stop in below_ranges(folder))
    assert inside == path.startswith(folder + b"/")


@settings(deadline=None)
@given(PATHS)
def test_all_is_below_the_root_folder(path: bytes) -> None:
    ((start, stop),) = below_ranges(b"")
    assert start <= key_of(path) < stop
    first, last = folder_range(b"")
    assert (first <= key_of(path) < last) == (b"/" not in path)


@settings(deadline=None)
@given(folder=PATHS, path=PATHS)
def test_a_folder_comes_before_what_is_in_it(folder: bytes, path: bytes) -> None:
    assert key_of(folder) < key_of(folder + b"/" + path)


def test_the_longest_names_and_paths_are_keys() -> None:
    longest_name = b"\xff" * 255
    assert key_of(longest_name) < END_KEY
    assert key_of(longest_name + b"/" + longest_name) < END_KEY
    deep = b"a/" * 2047 + b"bc"
    assert len(deep) == 4096
    assert path_of(check([key_of(deep)])[0]) == deep
    with pytest.raises(ValueError, match="4097 bytes"):
        key_of(deep + b"d")


@pytest.mark.parametrize("path", NOT_PATHS)
def test_what_no_kernel_names_has_no_key(path: bytes) -> None:
    with pytest.raises(ValueError, match="has"):
        key_of(path)


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"a",
        b"a\0",
        b"\0.",
        b"a\0..",
        b"..\0a",
        b"a/../b\0c",
        b"/a\0b",
        b"a/\0b",
        b"a\0b/c",
        b"a\0b\0c",
        b"a\0" + b"x" * 256,
        b"x" * 256 + b"\0a",
        b"a/" * 2047 + b"a\0b",
    ],
)
def test_damaged_keys_lead_nowhere(key: bytes) -> None:
    with pytest.raises(DamagedError):
        check([key])


@settings(deadline=None)
@given(st.lists(PATHS.map(key_of), min_size=2, max_size=5))
def test_keys_that_do_not_ascend_are_damage(keys: list[bytes]) -> None:
    if all(first < second for first, second in pairwise(keys)):
        assert check(keys) == keys
    else:
        with pytest.raises(DamagedError):
            check(keys)


# What is nearly a key, so that lists of them are often valid but for one.
_PIECES = st.sampled_from([b"a", b"b", b"b", b"c", b"/", b"\0", b"\0", b".", b"..", b"x" * 255])
_NEARLY_KEYS = st.one_of(
    PATHS.map(key_of), PATHS.map(key_of), st.lists(_PIECES, max_size=5).map(b"".join)
)


@settings(deadline=None, max_examples=1000)
@given(st.lists(_NEARLY_KEYS, max_size=6).map(lambda keys: sorted(set(keys))))
def test_keys_together_are_as_good_as_each_is_alone(keys: list[bytes]) -> None:
    """All at once they are looked at in another way."""
    try:
        for key in keys:
            if key != ROOT_KEY:
                assert key_of(path_of(check([key])[0])) == key
    except DamagedError:
        with pytest.raises(DamagedError):
            check(keys)
        return
    assert check(keys) == keys
