"""Buckets in cloud storage: their URLs, and the stores that access them."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

import urllib3
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from polars_imgmeta.exceptions import AccessDeniedError, InvalidLocatorError
from polars_imgmeta.io import blocking
from polars_imgmeta.io.access import STORE_SCHEMES
from polars_imgmeta.io.cloud import credentials
from polars_imgmeta.io.cloud.options import CONTROL, Options, is_server, parse_options

Store: TypeAlias = S3Store | AzureStore | GCSStore

_URL = re.compile(r"([A-Za-z0-9]+)://([^/]*)(?:/(.*))?", re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9$][\w.-]*", re.ASCII)
_ACCOUNT_HOST = re.compile(
    r"(?P<account>[A-Za-z0-9-]+)\.(?:dfs|blob)\.(?:core\.windows\.net|fabric\.microsoft\.com)"
)
# Declares the region of any bucket, without credentials.
REGION_URL: Final = "https://{bucket}.s3.amazonaws.com"
_MAX_REGION_SECONDS: Final = 5.0
# Required beside a single option that is checked.
_REQUIRED_CONFIG: Final[dict[str, dict[str, str]]] = {
    "s3": {"access_key_id": "x", "secret_access_key": "x"},
    "az": {"account_name": "x"},
    "gs": {},
}

# What obstore says of an invalid value, and what the value must be.
_VALUE_KINDS: Final = {
    "as boolean": "'true' or 'false'",
    "as Duration": "a duration, such as '30s'",
    "as usize": "a whole number",
    "as u32": "a whole number",
    "Unable to open": "a file that can be read",
    "Invalid Access Key": "a key in base64",
}


class Location(NamedTuple):
    """The parts of a URL of cloud storage.

    Attributes:
        cloud: `s3`, `az` or `gs`.
        bucket: The bucket or container.
        account: The account of Azure, if the URL contains it.
        fabric: Whether the account belongs to Microsoft Fabric.
        key: The name of the object; empty for the bucket.
        host: The host that an access policy checks: the bucket or, if the URL contains
            the account, the account's host, as names of containers are not unique.
    """

    cloud: str
    bucket: str
    account: str
    fabric: bool
    key: str
    host: str


def parse_location(url: str) -> Location:
    """Parse the URL of an object or a prefix.

    Raises:
        InvalidLocatorError: If it is not a valid URL of cloud storage.

    Examples:
        >>> parse_location("abfss://photos@shop.dfs.core.windows.net/a b.png")
        Location(cloud='az', bucket='photos', account='shop', fabric=False, key='a b.png', host=...)
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
    if CONTROL.search(key):
        msg = "a key with a line break or another control character cannot be read"
        raise InvalidLocatorError(msg)
    if any(part in {"", ".", ".."} for part in key.removesuffix("/").split("/")) and key:
        msg = "a key with an empty part, . or .. between two / cannot be read"
        raise InvalidLocatorError(msg)
    return Location(cloud, bucket, account, fabric, key, host)


def check_options(storage_options: Mapping[str, str] | None) -> None:
    """Check the options of all clouds, without a request to any server.

    Raises:
        ValueError: If an option is unknown or its value invalid, or options conflict;
            the message names them and shows no value.

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
        keys = config.keys() & {"access_key_id", "secret_access_key"}
        if config.pop("profile", None) is not None:
            if keys:
                names = f"{spellings['profile']!r} and {spellings[min(keys)]!r}"
                msg = f"`storage_options` must name a profile or keys, not both, got {names}"
                raise ValueError(msg)
            try:
                credentials.complete(cloud, options.config)
            except AccessDeniedError as error:
                msg = f"`storage_options[{spellings['profile']!r}]`: {error}"
                raise ValueError(msg) from None
        for name, value in config.items():
            _check(cloud, _REQUIRED_CONFIG[cloud] | {name: value}, {}, spellings[name])
        for name, value in options.connection.items():
            _check(cloud, _REQUIRED_CONFIG[cloud], {name: value}, spellings[name])
        variables = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} & os.environ.keys()
        if len(keys) == 1 and not variables:
            name = spellings[min(keys)]
            msg = f"`storage_options` must have both keys of AWS or none, got only {name!r}"
            raise ValueError(msg)


def _check(cloud: str, config: dict[str, str], connection: dict[str, str], spelling: str) -> None:
    try:
        build_store(cloud, "bucket", config, {"client_options": connection})
    except (BaseError, ValueError, TypeError) as error:
        message = str(error)
        if "environment" in message or "Duplicate" in message:
            return
        kinds = (kind for fragment, kind in _VALUE_KINDS.items() if fragment in message)
        expected = next(kinds, "something that can be used")
        msg = f"the value of `storage_options[{spelling!r}]` must be {expected}"
        raise ValueError(msg) from None


def make_store(
    location: Location, options: Options, timeout: float, *, max_retries: int
) -> tuple[Store, bool]:
    """Create the store of a bucket, with a time limit in seconds for each request.

    Returns:
        The store, and whether its credentials are explicit, so that obstore does not
        request them from the instance.

    Raises:
        ImageError: If options, environment and URL do not configure a store, or if credentials
            are not available.
    """
    config, provider, explicit = credentials.complete(location.cloud, options.config)
    connection: dict[str, Any] = {"allow_http": "true"} | options.connection  # as in Polars
    connection["timeout"] = options.duration("timeout", timeout)
    connection["connect_timeout"] = options.duration("connect_timeout", min(timeout, 10))
    common: dict[str, Any] = {
        "client_options": connection,
        "retry_config": {"max_retries": max_retries, "retry_timeout": timedelta(seconds=timeout)},
        "credential_provider": provider,
    }
    _require_valid_endpoint(location.cloud, config)
    if location.cloud == "s3" and (region := region_of(location.bucket, config, timeout)):
        config["region"] = region
    if location.account:
        config["account_name"] = location.account
    if location.fabric:
        config["use_fabric_endpoint"] = "true"
    try:
        return build_store(location.cloud, location.bucket, config, common), explicit
    except (BaseError, ValueError, TypeError) as error:
        raise AccessDeniedError(_setup_message(str(error))) from None


def build_store(cloud: str, bucket: str, config: dict[str, str], common: dict[str, Any]) -> Store:
    """Create a store from options by names without prefix, and what all clouds share."""
    kinds = {"s3": (S3Store, "aws_"), "az": (AzureStore, ""), "gs": (GCSStore, "google_")}
    kind, prefix = kinds[cloud]
    store: Store = kind(bucket, config={prefix + name: config[name] for name in config}, **common)
    return store


def _setup_message(message: str) -> str:
    """Return why a store cannot be created, without the values of options."""
    if "Account must be specified" in message:
        return "no storage account: name it by `azure_storage_account_name` or in the URL"
    if missing := re.search(r"error: (Missing \w+)", message):
        return f"the credentials are not complete: {missing[1]}"
    return "the store cannot be set up with these options and environment variables"


def _require_valid_endpoint(cloud: str, config: Mapping[str, str]) -> None:
    """Check an endpoint of a profile or the environment, on which obstore could panic."""
    urls = {"the endpoint of the profile": config.get("endpoint") or config.get("base_url")}
    if not any(urls.values()):
        variables = credentials.ENDPOINT_VARIABLES[cloud]
        urls = {f"the variable {name}": os.environ.get(name) for name in variables}
    for origin, url in urls.items():
        if url and not is_server(url):
            msg = f"{origin} must be a URL of http:// or https://"
            raise AccessDeniedError(msg)


def region_of(bucket: str, config: Mapping[str, str], timeout: float) -> str | None:
    """Request the region of a bucket of AWS; None if configured already, or on failure."""
    if any(credentials.is_configured(setting, config) for setting in ("region", "endpoint")):
        return None
    seconds = min(timeout, _MAX_REGION_SECONDS)
    until = time.monotonic() + seconds

    def wait() -> float:
        if (left := until - time.monotonic()) <= 0:
            raise TimeoutError
        return left

    with suppress(urllib3.exceptions.HTTPError, TimeoutError):
        url = REGION_URL.format(bucket=bucket)
        return blocking.call(_request_region, url, seconds, wait=wait)
    return None


@lru_cache(maxsize=256)
def _request_region(url: str, timeout: float) -> str | None:
    response = urllib3.request("HEAD", url, timeout=timeout, retries=False, redirect=False)
    return response.headers.get("x-amz-bucket-region")
