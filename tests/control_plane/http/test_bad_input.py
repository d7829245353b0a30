"""Whatever is sent, the answer is a 4xx with a sentence, never a 500."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any

import pytest

from common.wire import encode
from control_plane.errors import StudiosError
from control_plane.service import StudioService

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.plane import Answer, Plane

NEW = {"name": "demo", "computeEnvId": "local", "dataStudioToolUrl": "jupyterlab"}


def is_sentence(answer: Answer) -> bool:
    assert set(answer.body) == {"message"}
    text = answer.message
    return not text[0].islower() and text[-1] == "." and " " in text


BODIES: list[tuple[str, Any, int]] = [
    ("empty name", {**NEW, "name": ""}, 400),
    ("spaces", {**NEW, "name": "   "}, 400),
    ("long name", {**NEW, "name": "x" * 81}, 400),
    ("control character", {**NEW, "name": "a\u0000b"}, 400),
    ("newline", {**NEW, "name": "a\nb"}, 400),
    ("long description", {**NEW, "description": "x" * 2049}, 400),
    ("unknown template", {**NEW, "dataStudioToolUrl": "emacs"}, 400),
    ("unknown compute environment", {**NEW, "computeEnvId": "moon"}, 400),
    ("no name", {"computeEnvId": "local"}, 400),
    ("name is a number", {**NEW, "name": 7}, 400),
    ("name is null", {**NEW, "name": None}, 400),
    ("unknown field", {**NEW, "nmae": "typo"}, 400),
    ("unknown field inside", {**NEW, "configuration": {"cpus": 2}}, 400),
    ("no CPUs", {**NEW, "configuration": {"cpu": 0}}, 400),
    ("endless CPUs", {**NEW, "configuration": {"cpu": 10**30}}, 400),
    ("half a CPU", {**NEW, "configuration": {"cpu": 0.5}}, 400),
    ("long lifespan", {**NEW, "configuration": {"lifespanHours": 121}}, 400),
    ("variable name", {**NEW, "configuration": {"environment": {"A-B": "x"}}}, 400),
    ("reserved variable", {**NEW, "configuration": {"environment": {"CONNECT_X": "x"}}}, 400),
    ("unknown person", {**NEW, "allowedUserIds": [4711]}, 400),
    ("huge person", {**NEW, "allowedUserIds": [10**30]}, 400),
    ("unknown label", {**NEW, "labelIds": [4711]}, 400),
    ("a list", [NEW], 400),
    ("a string", "demo", 400),
    ("null", None, 400),
]


@pytest.mark.parametrize(("what", "body", "status"), BODIES, ids=[case[0] for case in BODIES])
async def test_a_wrong_studio_is_refused_with_a_sentence(
    plane: Plane, what: str, body: Any, status: int
) -> None:
    answer = await plane.admin.call("POST", "/api/studios", raw=encode(body))
    assert answer.status == status, (what, answer.text)
    assert is_sentence(answer), answer.message
    assert (await plane.admin.get("/api/studios")).body["totalSize"] == 0


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"   ",
        b"{",
        b"nonsense",
        b'{"name": "x"',
        b"\xff\xfe",
        b'{"name": "\\ud800"}',
        b"[" * 100_000,
        b'{"remoteConfig": ' + b'{"a":' * 50_000,
        b'{"name": NaN}',
    ],
)
async def test_broken_json_is_refused_with_a_sentence(plane: Plane, raw: bytes) -> None:
    for method, path in (("POST", "/api/studios"), ("POST", "/api/users"), ("POST", "/api/tokens")):
        answer = await plane.admin.call(method, path, raw=raw)
        assert answer.status == 400, answer.text
        assert is_sentence(answer)


@pytest.mark.parametrize("chunked", [False, True])
async def test_ten_megabytes_are_too_many(plane: Plane, chunked: bool) -> None:
    async def pieces() -> Any:
        for _ in range(10):
            yield b"x" * 1024 * 1024

    data: Any = pieces() if chunked else io.BytesIO(b"x" * 10 * 1024 * 1024)
    async with plane.http.post(
        "http://studio.localhost:9191/api/studios", data=data, headers=plane.admin.headers
    ) as answer:
        assert answer.status == 413
        assert (await answer.json())["message"].endswith(".")
    assert (await plane.admin.get("/api/studios")).status == 200


async def test_a_field_of_the_wrong_type_is_named(plane: Plane) -> None:
    answer = await plane.admin.post("/api/studios", {**NEW, "configuration": {"cpu": "two"}})
    assert "configuration.cpu" in answer.message
    answer = await plane.admin.post("/api/studios", {**NEW, "nmae": 1})
    assert "nmae" in answer.message


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nothing", 404),
        ("GET", "/nothing", 404),
        ("GET", "/page/../../service.py", 404),
        ("GET", "/page/%2e%2e/serve.py", 404),
        ("GET", "/page/", 404),
        ("GET", f"/page/{'a' * 300}", 404),
        ("GET", "/page/%00", 404),
        ("GET", "/api/studios/1234abcd", 404),
        ("GET", "/api/studios/not-an-id", 404),
        ("GET", "/api/studios/%00", 404),
        ("GET", "/api/studios/1234ABCD", 404),
        ("PUT", "/api/studios/1234abcd/start", 404),
        ("DELETE", "/api/studios/1234abcd", 404),
        ("PATCH", "/api/studios", 405),
        ("DELETE", "/api/studios", 405),
        ("OPTIONS", "/api/studios", 405),
        ("GET", "/api/studios?max=0", 400),
        ("GET", "/api/studios?max=101", 400),
        ("GET", "/api/studios?max=many", 400),
        ("GET", "/api/studios?offset=-1", 400),
        ("GET", f"/api/studios?offset={10**30}", 400),
        ("GET", f"/api/studios?search={'x' * 201}", 400),
        ("GET", "/api/studios/validate", 400),
        ("GET", "/api/orgs/1/workspaces/x/settings/studios", 404),
        ("DELETE", f"/api/tokens/{10**30}", 404),
        ("DELETE", "/api/tokens/0", 404),
        ("DELETE", "/api/users/minus", 404),
    ],
)
async def test_wrong_addresses_are_refused_with_a_sentence(
    plane: Plane, method: str, path: str, status: int
) -> None:
    answer = await plane.admin.call(method, path)
    assert answer.status == status, answer.text
    assert is_sentence(answer), answer.message
    if status == 405:
        assert "GET" in answer.headers["Allow"]


async def test_unusual_but_harmless_input_is_taken(plane: Plane) -> None:
    assert (await plane.admin.get("/api/studios?search=%25_%27%00%ff&workspaceId=1")).status == 200
    answer = await plane.admin.post("/api/studios", {**NEW, "name": "Ökologie – 数据 🧬"})
    assert answer.body["studio"]["name"] == "Ökologie – 数据 🧬"


async def test_commands_in_the_wrong_state_are_conflicts(plane: Plane) -> None:
    session_id = await plane.add()
    wrong = await plane.admin.post(f"/api/studios/{session_id}/lifespan")
    assert wrong.status == 409
    assert is_sentence(wrong)
    taken = await plane.admin.post("/api/studios", {**NEW, "name": "demo"})
    assert taken.status == 409
    await plane.run(session_id)
    edited = await plane.admin.put(f"/api/studios/{session_id}", {"name": "new"})
    assert edited.status == 409
    assert is_sentence(edited)


@pytest.mark.parametrize(
    "authorization",
    ["Bearer", "Bearer ", "Bearer wrong", "Bearer " + "x" * 5000, "Basic YTpi", "Bearer \xe9"],
)
async def test_wrong_credentials_are_401_with_a_sentence(plane: Plane, authorization: str) -> None:
    somebody = plane.nobody.with_headers(Authorization=authorization)
    for path in ("/api/studios", "/api/edge/v1/feed", "/api/agent/v1/desired", "/metrics"):
        answer = await somebody.get(path)
        assert answer.status == 401, path
        assert is_sentence(answer)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_browsers_get_errors_as_pages(plane: Plane) -> None:
    answer = await plane.nobody.with_headers(Accept="text/html,*/*").get("/nothing<script>")
    assert answer.status == 404
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "<script>" not in answer.text


@pytest.mark.parametrize(
    ("content_type", "raw"),
    [
        ("application/x-www-form-urlencoded", b"token=%ff%00&next=%"),
        ("application/x-www-form-urlencoded; charset=klingon", b"token=x"),
        ("multipart/form-data; boundary=x", b"--x\r\nnonsense"),
        ("multipart/form-data", b""),
        ("application/json", b'{"token": "x"}'),
    ],
)
async def test_odd_login_forms_log_nobody_in(plane: Plane, content_type: str, raw: bytes) -> None:
    somebody = plane.nobody.with_headers(
        Content_Type=content_type, Origin="http://studio.localhost:9191"
    )
    answer = await somebody.call("POST", "/login", raw=raw)
    assert answer.status == 401
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("raw", [b"a" * 17_000, b"&".join([b"x=y"] * 100)])
async def test_a_login_form_is_small(plane: Plane, raw: bytes) -> None:
    somebody = plane.nobody.with_headers(Origin="http://studio.localhost:9191")
    answer = await somebody.call("POST", "/login", raw=raw)
    assert answer.status in {400, 413}
    assert is_sentence(answer)


async def test_kilobytes_of_foreign_cookies_lock_nobody_out(plane: Plane) -> None:
    browser = await plane.browser()
    cookies = f"{'x' * 9000}=y; {browser.headers['Cookie']}; more={'x' * 40_000}"
    assert (await browser.with_headers(Cookie=cookies).get("/api/user-info")).status == 200


@pytest.mark.parametrize("wrong", ["x" * 70_000, "\x7f\x01"])
async def test_a_head_that_cant_be_read_is_repeated_nowhere(
    plane: Plane,
    folder: Path,
    wrong: str,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    reader, writer = await asyncio.open_unix_connection(folder / "s")
    writer.write(f"GET / HTTP/1.1\r\nCookie: the-secret={wrong}\r\nHost: x\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    assert answer.split()[1] == "400"
    told = capsys.readouterr()
    for text in (answer, told.out, told.err, caplog.text):
        assert "the-secret" not in text
        assert "xxxx" not in text
    assert "delete the cookies" in answer


async def test_a_bug_is_a_500_with_an_id_and_says_nothing_else(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise KeyError("a secret detail")

    monkeypatch.setattr(StudioService, "get", broken)
    answer = await plane.admin.get("/api/studios/1234abcd")
    assert answer.status == 500
    assert "secret" not in answer.text
    request_id = answer.headers["X-Request-Id"]
    assert request_id in answer.message
    logged = capsys.readouterr()
    assert request_id in logged.out + logged.err


async def test_an_error_without_a_status_is_a_bug(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise StudiosError("Never to be raised itself.")

    monkeypatch.setattr(StudioService, "get", broken)
    assert (await plane.admin.get("/api/studios/1234abcd")).status == 500


async def test_a_dead_database_is_503_in_health(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await plane.nobody.get("/healthz")).body == {"status": "ok"}
    await plane.plane.parts.database.dispose()

    class Dead:
        def connect(self) -> None:
            raise OSError("no such host")

    from control_plane.api import operations  # noqa: PLC0415

    monkeypatch.setattr(operations, "reading", lambda _: Dead().connect())
    answer = await plane.nobody.get("/healthz")
    assert answer.status == 503
    assert is_sentence(answer)
    await asyncio.sleep(0)
