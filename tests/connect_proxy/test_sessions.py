"""The edge's copy of what sessions exist, against a model of the feed."""

from __future__ import annotations

from hypothesis import given, strategies as st

from common.edge_messages import EdgeSession, FeedLine
from common.ids import SessionId
from connect_proxy.sessions import SessionDirectory


def session(number: int, access_version: int = 1, status: str = "running") -> FeedLine:
    return FeedLine(
        session=EdgeSession(
            session_id=SessionId(f"{number:08x}"),
            name="n",
            status=status,
            message="",
            owner="ada",
            run_number=1,
            access_version=access_version,
        )
    )


class Watched:
    """A directory and what it told."""

    def __init__(self) -> None:
        self.changed: list[str] = []
        self.removed: list[str] = []
        self.directory = SessionDirectory(
            access_changed=lambda s: self.changed.append(s.session_id),
            removed=self.removed.append,
        )


def test_nothing_is_known_before_a_first_feed_is_complete() -> None:
    watched = Watched()
    watched.directory.begin()
    watched.directory.apply(session(1))
    known = [watched.directory.known]
    watched.directory.apply(FeedLine(complete=True))
    known.append(watched.directory.known)
    watched.directory.begin()
    known.append(watched.directory.known)
    assert known == [False, True, True], "a feed that starts over takes nothing away"


def test_a_session_that_went_while_the_feed_was_away_is_removed() -> None:
    watched = Watched()
    for line in (session(1), session(2), FeedLine(complete=True)):
        watched.directory.apply(line)
    watched.directory.begin()
    watched.directory.apply(session(2))
    assert watched.directory.get(SessionId("00000001")), "served until the feed is complete"
    watched.directory.apply(FeedLine(complete=True))
    assert watched.directory.get(SessionId("00000001")) is None
    assert watched.removed == ["00000001"]


def test_only_a_new_access_version_is_told() -> None:
    watched = Watched()
    watched.directory.apply(session(1, 1))
    watched.directory.apply(session(1, 1, "stopping"))
    assert watched.changed == []
    watched.directory.apply(session(1, 2))
    assert watched.changed == ["00000001"]
    found = watched.directory.get(SessionId("00000001"))
    assert found is not None
    assert found.access_version == 2


def test_an_access_version_raised_while_the_feed_was_away_is_told() -> None:
    watched = Watched()
    watched.directory.apply(session(1, 1))
    watched.directory.begin()
    watched.directory.apply(session(1, 2))
    assert watched.changed == ["00000001"]


def test_removing_what_is_unknown_is_no_news() -> None:
    watched = Watched()
    watched.directory.apply(FeedLine(removed=SessionId("00000001")))
    assert watched.removed == []


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 4), st.integers(1, 3)),
        st.tuples(st.just("remove"), st.integers(0, 4), st.just(0)),
        st.tuples(st.just("restart"), st.integers(0, 4), st.just(0)),
    ),
    max_size=30,
)


@given(steps)
def test_after_each_complete_feed_the_copy_equals_the_original(
    changes: list[tuple[str, int, int]],
) -> None:
    watched = Watched()
    original: dict[int, int] = {}
    following = True
    for kind, number, version in changes:
        if kind == "put":
            original[number] = version
            if following:
                watched.directory.apply(session(number, version))
        elif kind == "remove":
            original.pop(number, None)
            if following:
                watched.directory.apply(FeedLine(removed=SessionId(f"{number:08x}")))
        elif following:
            following = False  # the feed is lost; changes happen unseen
        else:
            following = True
            watched.directory.begin()
            for known, access_version in original.items():
                watched.directory.apply(session(known, access_version))
            watched.directory.apply(FeedLine(complete=True))
        if following:
            copy = {
                n: s.access_version
                for n in range(5)
                if (s := watched.directory.get(SessionId(f"{n:08x}"))) is not None
            }
            assert copy == original
