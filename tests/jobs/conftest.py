"""Cloud storage that outputs of jobs go to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import servers


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """A bucket, and the options that reach it."""
    import boto3  # noqa: PLC0415 - slow

    with servers.s3_server(tmp_path_factory.mktemp("moto")) as url:
        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
        boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys).create_bucket(
            Bucket="tables"
        )
        yield "s3://tables", {"aws_endpoint_url": url, "aws_region": "us-east-1", **keys}


@pytest.fixture(scope="module")
def azure(
    azurite: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, dict[str, str]]]:
    """A container, and the options that reach it."""
    with servers.azure_server(azurite, tmp_path_factory.mktemp("azurite")) as url:
        servers.put_azure(url, "tables", None)
        yield (
            "az://tables",
            {
                "account_name": servers.AZURE_ACCOUNT,
                "account_key": servers.AZURE_KEY,
                "endpoint": f"{url}/{servers.AZURE_ACCOUNT}",
            },
        )
