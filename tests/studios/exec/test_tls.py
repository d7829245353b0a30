"""`studios exec` to a session behind https."""

from __future__ import annotations

import datetime
import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.studios.exec.conftest import Studios
from tests.support.exec_place import exec_place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.fake_api import FakeApi

HOST = "a1234abcd.studio.localhost"


def certificate(folder: Path) -> Path:
    """Make one for HOST, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
async def secure(api: FakeApi, tmp_path: Path) -> AsyncIterator[Studios]:
    path = certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(path)
    async with exec_place(tmp_path, tls=tls) as place:
        api.exec_url = place.url
        api.have("1234abcd", "demo", "running")
        studios = Studios(api, place, tmp_path)
        studios.environment["SSL_CERT_FILE"] = str(path)
        yield studios


async def test_everything_arrives_and_the_end_too(secure: Studios) -> None:
    data = bytes(range(256)) * 20_000
    found = await secure("-i", "demo", "--", "sh", "-c", "cat; exit 6", typed=data)
    assert (found.code, found.out, found.err) == (6, data, "")


async def test_a_certificate_that_nobody_vouches_for_is_refused(secure: Studios) -> None:
    del secure.environment["SSL_CERT_FILE"]
    found = await secure("demo", "--", "true")
    assert (found.code, "certificate verify failed" in found.err) == (5, True)
