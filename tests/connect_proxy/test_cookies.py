"""The edge's own cookies are found among any others, and never passed on."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from connect_proxy.cookies import CANDIDATES_MAX, CookieNames, read

HTTP = CookieNames.for_scheme("http")
HTTPS = CookieNames.for_scheme("https")


@pytest.mark.parametrize(
    ("fields", "connect", "nonce", "rest"),
    [
        ([], (), (), b""),
        ([b""], (), (), b""),
        ([b"studio-connect=a.b.c"], ("a.b.c",), (), b""),
        ([b"a=1; studio-connect=x; b=2"], ("x",), (), b"a=1; b=2"),
        ([b"studio-connect=x; studio-connect=y"], ("x", "y"), (), b""),
        ([b"studio-nonce=n; studio-connect=x"], ("x",), ("n",), b""),
        ([b"a=1", b"studio-connect=x", b"b=2"], ("x",), (), b"a=1; b=2"),
        ([b"  studio-connect =  x  ;;a=1"], ("x",), (), b"a=1"),
        ([b"\tstudio-connect=x"], ("x",), (), b""),
        ([b"studio-connect"], ("",), (), b""),
        ([b"studio-connect="], ("",), (), b""),
        ([b"studio-connect=a=b"], ("a=b",), (), b""),
        ([b"studio-connect=\xff"], ("\xff",), (), b""),
        ([b'studio-connect="x"'], ('"x"',), (), b""),
        ([b"Studio-Connect=x"], (), (), b"Studio-Connect=x"),
        (
            [b"studio-connect2=x; xstudio-connect=y"],
            (),
            (),
            b"studio-connect2=x; xstudio-connect=y",
        ),
    ],
)
def test_ours_are_taken_and_the_rest_is_kept(
    fields: list[bytes], connect: tuple[str, ...], nonce: tuple[str, ...], rest: bytes
) -> None:
    jar = read(fields, HTTP)
    assert (jar.connect, jar.nonce, jar.rest) == (connect, nonce, rest)


others = st.lists(
    st.sampled_from(
        [b"a=1", b'b="q q"', b"c", b"=d", b"e=f=g", b"_xsrf=2|a|b", b"h=\xe9\xff", b"a=1", b"i="]
    ),
    max_size=8,
)
ours = st.sampled_from(
    [b"studio-connect=secret", b" studio-connect = secret", b"studio-nonce=secret", b"studio-nonce"]
)


@given(others, st.lists(st.tuples(ours, st.integers(0, 8)), max_size=5), st.integers(0, 8))
def test_the_tool_gets_its_cookies_byte_for_byte_and_none_of_ours(
    theirs: list[bytes], inserted: list[tuple[bytes, int]], cut: int
) -> None:
    pairs = list(theirs)
    for pair, place in inserted:
        pairs.insert(place, pair)
    fields = [b"; ".join(part) for part in (pairs[:cut], pairs[cut:]) if part]
    jar = read(fields, HTTP)
    assert jar.rest == b"; ".join(theirs)
    assert b"secret" not in jar.rest


def test_under_tls_the_names_are_such_that_a_sibling_can_not_set_them() -> None:
    cookie = HTTPS.set_connect("t")
    assert cookie.startswith(b"__Host-studio-connect=t; Path=/; ")
    assert b"Domain" not in cookie
    for attribute in (b"; Secure", b"; HttpOnly", b"; SameSite=Lax"):
        assert attribute in cookie
        assert attribute in HTTPS.set_nonce("n")
    assert b"Secure" not in HTTP.set_connect("t")
    jar = read([b"__Host-studio-connect=x; studio-connect=y"], HTTPS)
    assert (jar.connect, jar.rest) == (("x",), b"studio-connect=y")


def test_a_flood_of_candidates_is_cut_and_still_stripped() -> None:
    field = b"; ".join([b"studio-connect=x"] * 3000 + [b"a=1"])
    jar = read([field], HTTP)
    assert len(jar.connect) == CANDIDATES_MAX
    assert jar.rest == b"a=1"
