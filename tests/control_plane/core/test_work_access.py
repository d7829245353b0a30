"""What the control plane hands on of how buckets are reached, and for which of them."""

from __future__ import annotations

import pytest

from checkpoints.storage.urls import Access
from common.secret import Secret
from control_plane.config import InvalidConfigError, bucket_access, from_environment
from control_plane.model import DEFAULT_COMPUTE_ENV, ComputeEnv
from control_plane.work_access import WorkAccess
from control_plane.work_directories import work_directory

KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "hidden", "AWS_REGION": "r"}
ACCESS = Access({"access_key_id": Secret("id"), "secret_access_key": Secret("hidden")}, region="r")
ENV = ComputeEnv(
    id=DEFAULT_COMPUTE_ENV, name="one", engine="local", region="of the environment", work_dir=""
)


def test_it_is_read_with_the_rest_of_the_configuration() -> None:
    assert bucket_access("s3://b/p", KEYS) == WorkAccess("s3", ACCESS)
    assert bucket_access("file:///work", KEYS) == WorkAccess()
    environ = {"STUDIOS_WORK_DIR": "s3://b/p", **KEYS}
    assert from_environment(environ).access == WorkAccess("s3", ACCESS)
    for wrong in ({"AWS_ACCESS_KEY_ID": "id"}, {"AWS_ENDPOINT_URL": "minio:9000"}):
        with pytest.raises(InvalidConfigError, match=r"AWS_SECRET_ACCESS_KEY|https://"):
            from_environment({"STUDIOS_WORK_DIR": "s3://b/p", **wrong})


def test_keys_are_for_the_providers_buckets_only_and_show_nowhere() -> None:
    access = bucket_access("s3://b/p", KEYS)
    told = work_directory("s3://b/older", ENV, access)
    assert (told.credentials, told.region) == (ACCESS.credentials, "r")
    for url in ("gs://b", "file:///work", "az://c"):
        told = work_directory(url, None, access)
        assert (told.credentials, told.region, told.account) == ({}, "", "")
    assert "hidden" not in repr(access)


def test_the_compute_environments_region_is_the_buckets_where_none_is_set() -> None:
    keys = {name: value for name, value in KEYS.items() if name != "AWS_REGION"}
    told = work_directory("s3://b", ENV, bucket_access("s3://b", keys))
    assert told.region == "of the environment"
