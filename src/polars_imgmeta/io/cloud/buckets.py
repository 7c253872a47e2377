"""Buckets in cloud storage: what names one, and what asks it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

import urllib3
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from polars_imgmeta.exceptions import AccessDeniedError, InvalidLocatorError
from polars_imgmeta.io.access import STORE_SCHEMES
from polars_imgmeta.io.cloud import credentials
from polars_imgmeta.io.cloud.options import Options, is_server, parse_options

Store: TypeAlias = S3Store | AzureStore | GCSStore

_URL = re.compile(r"([A-Za-z0-9]+)://([^/]*)(?:/(.*))?", re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9$][\w.-]*", re.ASCII)
_ACCOUNT_HOST = re.compile(
    r"(?P<account>[A-Za-z0-9-]+)\.(?:dfs|blob)\.(?:core\.windows\.net|fabric\.microsoft\.com)"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Where the region of any bucket is told, to everybody.
REGIONS: Final = "https://{bucket}.s3.amazonaws.com"
_SERVER_VARIABLES: Final = {
    "s3": ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"),
    "az": ("AZURE_ENDPOINT", "AZURE_STORAGE_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
}
# With which a single option can be tried.
_COMPANIONS: Final[dict[str, dict[str, str]]] = {
    "s3": {"access_key_id": "x", "secret_access_key": "x"},
    "az": {"account_name": "x"},
    "gs": {},
}


class Place(NamedTuple):
    """Where an object is.

    Attributes:
        cloud: `s3`, `az` or `gs`.
        bucket: The bucket or container.
        account: Of Azure, where the URL tells it.
        fabric: Whether the account is one of Microsoft Fabric.
        key: The name of the object; empty for the bucket.
        host: What a policy calls it: the bucket or, where the URL tells the account,
            the host of that, as anybody may have a container of the same name.
    """

    cloud: str
    bucket: str
    account: str
    fabric: bool
    key: str
    host: str


def parse_url(url: str) -> Place:
    """Return what a URL names, an object or what begins the names of several.

    Raises:
        InvalidLocatorError: If it names nothing that can be in cloud storage.

    Examples:
        >>> parse_url("abfss://photos@shop.dfs.core.windows.net/a b.png")
        Place(cloud='az', bucket='photos', account='shop', fabric=False, key='a b.png', host=...)
    """
    match = _URL.fullmatch(url)
    scheme = match[1].lower() if match else ""
    if not match or scheme not in STORE_SCHEMES:
        msg = f"not a URL of cloud storage; known are {', '.join(STORE_SCHEMES)}"
        raise InvalidLocatorError(msg)
    cloud, bucket, key = STORE_SCHEMES[scheme], match[2], match[3] or ""
    account, fabric, host = "", False, bucket
    if cloud == "az" and "@" in bucket:
        bucket, _, host = bucket.partition("@")
        host_match = _ACCOUNT_HOST.fullmatch(host)
        if not host_match:
            msg = "what stands behind @ must be ACCOUNT.dfs.core.windows.net"
            raise InvalidLocatorError(msg)
        account, fabric = host_match["account"], host.endswith("fabric.microsoft.com")
    if not _BUCKET.fullmatch(bucket):
        msg = f"no name of a bucket stands between {scheme}:// and the next /"
        raise InvalidLocatorError(msg)
    if _CONTROL.search(key):
        msg = "a key with a line break or another control character cannot be read"
        raise InvalidLocatorError(msg)
    if any(part in {"", ".", ".."} for part in key.removesuffix("/").split("/")) and key:
        msg = "a key with an empty part, . or .. between two / cannot be read"
        raise InvalidLocatorError(msg)
    return Place(cloud, bucket, account, fabric, key, host)


def check_options(storage_options: Mapping[str, str] | None) -> None:
    """Refuse options with which nothing can be read; asks no server.

    Args:
        storage_options: As Polars takes them.

    Raises:
        ValueError: If one is unknown or cannot have its value, or if they contradict
            each other; its message names them and shows no value.

    Examples:
        >>> check_options({"aws_acess_key_id": "secret"})
        Traceback (most recent call last):
        ...
        ValueError: `storage_options` must be named as in Polars, got 'aws_acess_key_id'
        <BLANKLINE>
        Hint: did you mean 'aws_access_key_id'?
    """
    for cloud, options in parse_options(storage_options).items():
        config, spellings = dict(options.config), options.spellings
        if config.pop("profile", None) is not None:
            if keys := config.keys() & {"access_key_id", "secret_access_key"}:
                names = f"{spellings['profile']!r} and {spellings[min(keys)]!r}"
                msg = f"`storage_options` must name a profile or keys, not both, got {names}"
                raise ValueError(msg)
            try:
                credentials.complete(cloud, options.config)
            except credentials.CredentialsError as error:
                msg = f"`storage_options[{spellings['profile']!r}]`: {error}"
                raise ValueError(msg) from None
        for name, value in config.items():
            _try(cloud, _COMPANIONS[cloud] | {name: value}, {}, spellings[name])
        for name, value in options.connection.items():
            _try(cloud, _COMPANIONS[cloud], {name: value}, spellings[name])
        if lone := config.keys() & {"access_key_id", "secret_access_key"}:
            variables = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} & os.environ.keys()
            if len(lone) == 1 and not variables:
                name = spellings[min(lone)]
                msg = f"`storage_options` must have both keys of AWS or none, got only {name!r}"
                raise ValueError(msg)


def _try(cloud: str, config: dict[str, str], connection: dict[str, str], spelling: str) -> None:
    if "service_account" in config or "service_account_key" in config:
        # The environment may have the other one, and both are too many.
        config = {name: value for name, value in config.items() if name != "skip_signature"}
    try:
        build_store(cloud, "bucket", config, {"client_options": connection})
    except (BaseError, ValueError, TypeError) as error:
        told = str(error)
        if "environment" in told or "Duplicate" in told:
            return
        expected = "something that can be used"
        for sign, kind in (
            ("as boolean", "'true' or 'false'"),
            ("as Duration", "a duration, such as '30s'"),
            ("as usize", "a whole number"),
            ("as u32", "a whole number"),
            ("Unable to open", "a file that can be read"),
            ("Invalid Access Key", "a key in base64"),
        ):
            expected = kind if sign in told else expected
        msg = f"the value of `storage_options[{spelling!r}]` must be {expected}"
        raise ValueError(msg) from None


def make_store(place: Place, options: Options, limit: float, *, retries: int) -> tuple[Store, bool]:
    """Make what asks one bucket.

    Args:
        place: Tells the bucket.
        options: For its cloud.
        limit: How many seconds a request may take.
        retries: How often obstore itself is to try again.

    Returns:
        It, and whether its credentials are told and not to be asked of the instance.

    Raises:
        ImageError: If options, environment and URL together name no store.
        CredentialsError: If credentials cannot be had.
    """
    config, provider, told = credentials.complete(place.cloud, options.config)
    connection: dict[str, Any] = {"allow_http": "true"} | options.connection  # as Polars does
    connection["timeout"] = options.duration("timeout", limit)
    connection["connect_timeout"] = options.duration("connect_timeout", min(limit, 10))
    common: dict[str, Any] = {
        "client_options": connection,
        "retry_config": {"max_retries": retries, "retry_timeout": timedelta(seconds=limit)},
        "credential_provider": provider,
    }
    _require_server(place.cloud, config)
    if place.cloud == "s3" and (region := region_of(place.bucket, config, limit)):
        config["region"] = region
    if place.account:
        config["account_name"] = place.account
    if place.fabric:
        config["use_fabric_endpoint"] = "true"
    try:
        return build_store(place.cloud, place.bucket, config, common), told
    except (BaseError, ValueError, TypeError) as error:
        raise AccessDeniedError(_blame(str(error))) from None


def build_store(cloud: str, bucket: str, config: dict[str, str], common: dict[str, Any]) -> Store:
    """Make the store of a cloud.

    Args:
        cloud: `s3`, `az` or `gs`.
        bucket: The bucket or container.
        config: Options by names without prefix.
        common: What the stores of all clouds take.
    """
    kinds = {"s3": (S3Store, "aws_"), "az": (AzureStore, ""), "gs": (GCSStore, "google_")}
    kind, prefix = kinds[cloud]
    store: Store = kind(bucket, config={prefix + name: config[name] for name in config}, **common)
    return store


def _blame(message: str) -> str:
    """Say why there is no store, as far as that shows no value of an option."""
    if "Account must be specified" in message:
        return "no storage account: name it by `azure_storage_account_name` or in the URL"
    if missing := re.search(r"error: (Missing \w+)", message):
        return f"the credentials are not complete: {missing[1]}"
    return "the store cannot be set up with these options and environment variables"


def _require_server(cloud: str, config: Mapping[str, str]) -> None:
    """Refuse a server, told by a profile or the environment, at which obstore would panic."""
    told = config.get("endpoint") or config.get("base_url")
    places = {"the endpoint of the profile": told}
    if not told:
        places = {f"the variable {name}": os.environ.get(name) for name in _SERVER_VARIABLES[cloud]}
    for place, url in places.items():
        if url and not is_server(url):
            msg = f"{place} must be a URL of http:// or https://"
            raise AccessDeniedError(msg)


def region_of(bucket: str, config: Mapping[str, str], limit: float) -> str | None:
    """Return the region of a bucket of AWS, asked for, or None where somebody has told it.

    Args:
        bucket: Its name.
        config: What has been told, by names without prefix.
        limit: How many seconds it may take.
    """
    told = config.keys() & {"region", "default_region", "endpoint"}
    variables = ("AWS_REGION", "AWS_DEFAULT_REGION", *_SERVER_VARIABLES["s3"])
    if told or any(map(os.environ.get, variables)):
        return None
    with suppress(urllib3.exceptions.HTTPError):
        return _ask_region(REGIONS.format(bucket=bucket), min(limit, 5))
    return None


@lru_cache(maxsize=256)
def _ask_region(url: str, limit: float) -> str | None:
    answer = urllib3.request("HEAD", url, timeout=limit, retries=False, redirect=False)
    return answer.headers.get("x-amz-bucket-region")
