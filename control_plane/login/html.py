"""Pages that say one thing, whole in the first answer: login, errors. Without any script."""

from __future__ import annotations

from html import escape

from aiohttp import web

_PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <meta name="robots" content="noindex">
  <title>{title} · Studios</title>
  <link rel="icon" href="/page/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="/page/theme.css">
</head>
<body class="single">
  <main>
    <img src="/page/icon.svg" alt="Open Studios" width="40" height="40">
    <h1>{title}</h1>
{content}
  </main>
</body>
</html>
"""

_ERROR_TITLES = {
    400: "That address isn’t right",
    401: "Please log in",
    403: "Not for you",
    404: "Nothing here",
    500: "Something went wrong",
    503: "Not now",
}


def _answer(title: str, content: str, *, status: int = 200) -> web.Response:
    return web.Response(
        text=_PAGE.format(title=escape(title), content=content),
        status=status,
        content_type="text/html",
    )


def redirect(location: str, *, status: int = 302) -> web.Response:
    """Lead on. Byte for byte: aiohttp's own redirects quote the address anew."""
    return web.Response(status=status, headers={"Location": location})


def error_page(status: int, sentence: str) -> web.Response:
    title = _ERROR_TITLES.get(status, "That didn’t work")
    return _answer(
        title,
        f'    <p>{escape(sentence)}</p>\n    <p><a href="/">To your Studios</a></p>',
        status=status,
    )


def link_page(*, name: str, token: str, then: str) -> web.Response:
    """Ask for the click that uses a login link up; programs that only look don't click."""
    return _answer(
        f"Welcome, {name}",
        f"""    <p class="soft">This link logs you in on this browser. It works once.</p>
    <form method="post" action="/login">
      <input type="hidden" name="token" value="{escape(token)}">
      <input type="hidden" name="next" value="{escape(then)}">
      <button class="primary" autofocus>Log in</button>
    </form>""",
    )


def login_page(*, then: str, problem: str = "", status: int = 200) -> web.Response:
    """Say how to get in."""
    alert = f'    <p class="problem" role="alert">{escape(problem)}</p>\n' if problem else ""
    wrong = ' aria-invalid="true"' if problem else ""
    return _answer(
        "Log in",
        f"""{alert}    <p>You need a login link. Whoever runs this server makes one with</p>
    <pre tabindex="0">studios login --link</pre>
    <p class="soft">Members get theirs from an Owner or Admin. Or use an API token:</p>
    <form method="post" action="/login">
      <input type="hidden" name="next" value="{escape(then)}">
      <div>
        <label for="api-token">API token</label>
        <input id="api-token" name="apiToken" type="password" autocomplete="off" required{wrong}>
      </div>
      <button class="primary">Log in</button>
    </form>""",
        status=status,
    )


def logged_out_page() -> web.Response:
    return _answer(
        "You are logged out",
        """    <p class="soft">Sessions you have opened stay open in their tabs, up to an hour.</p>
    <p><a href="/login">Log in again</a></p>""",
    )
