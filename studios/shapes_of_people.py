"""What the API answers about people: see `shapes`."""

from __future__ import annotations

from studios.shapes import Shape


class User(Shape, frozen=True, kw_only=True):
    """One person who may log in, with a role: owner admin maintain launch connect view."""

    id: int
    user_name: str = ""
    role: str = ""
    email: str | None = None


class UserInfo(Shape, frozen=True, kw_only=True):
    """Who a token belongs to."""

    user: User


class Users(Shape, frozen=True, kw_only=True):
    """Everybody who may log in."""

    users: tuple[User, ...] = ()
    total_size: int = 0


class NewUser(Shape, frozen=True, kw_only=True):
    """A person to add."""

    name: str
    role: str


class AddedUser(Shape, frozen=True, kw_only=True):
    """A person just added, and the link that logs their browser in once."""

    user: User
    login_url: str


class NewRole(Shape, frozen=True, kw_only=True):
    """A person's other role."""

    role: str


class LoginLink(Shape, frozen=True, kw_only=True):
    """Logs a browser in once; earlier links of the same person stop working."""

    login_url: str
