"""Servers that speak S3."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.s3_servers import moto_server, rclone_server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with rclone_server(tmp_path_factory.mktemp("rclone")) as url:
        yield url
