"""The options of cloud storage, `storage_options`, by their names in Polars.

Each cloud takes the options that it knows and those of connections, and ignores those
of other clouds, which the same column may use too. Messages name the option at fault
and never show its value, which may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from polars_imgmeta.exceptions import hint
from polars_imgmeta.io.retries import RetryPolicy

_PREFIXES: Final = {
    "s3": ("", "aws_"),
    "az": ("", "azure_", "azure_storage_"),
    "gs": ("", "google_"),
}

# fmt: off
NAMES: Final = {
    "s3": [
        "access_key_id", "checksum_algorithm", "conditional_put",
        "container_authorization_token_file", "container_credentials_full_uri",
        "container_credentials_relative_uri", "copy_if_not_exists", "default_region",
        "disable_tagging", "endpoint", "endpoint_url_sts", "imdsv1_fallback", "metadata_endpoint",
        "profile", "region", "request_payer", "role_arn", "role_session_name", "s3_express",
        "secret_access_key", "server_side_encryption", "session_token", "skip_signature",
        "sse_bucket_key_enabled", "sse_customer_key_base64", "sse_kms_key_id", "unsigned_payload",
        "virtual_hosted_style_request", "web_identity_token_file",
    ],
    "az": [
        "account_key", "account_name", "authority_host", "client_id", "client_secret",
        "credential_type", "disable_tagging", "encryption_key", "endpoint",
        "fabric_cluster_identifier", "fabric_session_token", "fabric_token_service_url",
        "fabric_workload_host", "federated_token_file", "msi_endpoint", "msi_resource_id",
        "object_id", "sas_key", "skip_signature", "tenant_id", "token", "use_azure_cli",
        "use_emulator", "use_fabric_endpoint",
    ],
    "gs": [
        "application_credentials", "base_url", "bearer_token", "service_account",
        "service_account_key", "skip_signature",
    ],
}
_ALIASES: Final = {
    "s3": {"endpoint_url": "endpoint", "endpoint_url_s3": "endpoint", "token": "session_token"},
    "az": {
        "access_key": "account_key", "authority_id": "tenant_id", "bearer_token": "token",
        "identity_endpoint": "msi_endpoint", "master_key": "account_key", "sas_token": "sas_key",
    },
    "gs": {"service_account_path": "service_account", "token": "bearer_token"},
}
CONNECTION_NAMES: Final = [
    "allow_http", "allow_invalid_certificates", "connect_timeout", "default_content_type",
    "http1_only", "http2_keep_alive_interval", "http2_keep_alive_timeout",
    "http2_keep_alive_while_idle", "http2_max_frame_size", "http2_only", "pool_idle_timeout",
    "pool_max_idle_per_host", "proxy_ca_certificate", "proxy_excludes", "proxy_url",
    "randomize_addresses", "timeout", "user_agent",
]
# The fields of `RetryPolicy`, and the options' unit in theirs.
_RETRY_FIELDS: Final = {
    "max_retries": ("max_retries", 1.0), "retry_timeout_ms": ("timeout", 0.001),
    "retry_init_backoff_ms": ("first_pause", 0.001),
    "retry_max_backoff_ms": ("longest_pause", 0.001), "retry_base_multiplier": ("multiplier", 1.0),
}
# Not applicable: the URL contains the bucket, nothing is written or cached in files, and
# `Access` limits the concurrency.
_IGNORED: Final = [
    "bucket", "bucket_name", "container_name", "disable_bulk_delete", "file_cache_ttl",
    "rate_read_ceiling", "rate_read_floor", "rate_read_init", "rate_write_ceiling",
    "rate_write_floor", "rate_write_init",
]
# fmt: on

_URLS: Final = frozenset(
    {"authority_host", "base_url", "container_credentials_full_uri", "endpoint"}
    | {"endpoint_url_sts", "fabric_token_service_url", "metadata_endpoint", "msi_endpoint"}
)
# JSON and PEM, which have line breaks.
_MULTILINE: Final = frozenset({"service_account_key", "proxy_ca_certificate"})
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_DURATION: Final = re.compile(r"(\d{1,9})\s*(ms|msec|s|sec|seconds?|m|min|minutes?|h|hours?)")
_UNITS: Final = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours"}


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one cloud, by names without prefix, and how the call spells each name."""

    config: dict[str, str] = field(default_factory=dict)
    connection: dict[str, str] = field(default_factory=dict)
    retries: dict[str, float] = field(default_factory=dict)
    spellings: dict[str, str] = field(default_factory=dict)

    @property
    def retry_policy(self) -> RetryPolicy:
        """The policy that the options configure."""
        return RetryPolicy(**self.retries)

    def duration(self, name: str, maximum: float) -> timedelta:
        """Return a duration among the options of connections, clipped to `maximum` seconds."""
        limit = timedelta(seconds=maximum)
        text = self.connection.get(name)
        return limit if text is None else min(limit, _duration(text) or limit)


def parse_options(storage_options: Mapping[str, str] | None) -> dict[str, Options]:
    """Split options by cloud: `s3`, `az` and `gs`.

    Names are in upper or lower case, with the prefix of the cloud, which takes precedence, or
    without.

    Raises:
        ValueError: If an option is unknown, duplicated or of an invalid value.
    """
    options = {cloud: Options() for cloud in NAMES}
    given = (storage_options or {}).items()
    for key, value in sorted(given, key=lambda option: _is_prefixed(str(option[0]))):
        meanings = _MEANINGS.get(str(key).lower())
        if meanings is None:
            nearest = hint(str(key).lower(), _MEANINGS)
            msg = f"`storage_options` must be named as in Polars, got {key!r}{nearest}"
            raise ValueError(msg)
        for cloud, name in meanings:
            _add(options[cloud], str(key), name, value)
    return options


def _add(options: Options, key: str, name: str, value: object) -> None:
    if name in _IGNORED:
        return
    previous = options.spellings.get(name)
    if previous is not None and _is_prefixed(previous) == _is_prefixed(key):
        msg = f"`storage_options` must not repeat an option, got {previous!r} and {key!r}"
        raise ValueError(msg)
    options.spellings[name] = key
    if name in _RETRY_FIELDS:
        attribute, unit = _RETRY_FIELDS[name]
        options.retries[attribute] = unit * _number(key, value)
        return
    if not isinstance(value, str):
        raise _invalid(key, f"a string, such as 'true', got one of type {type(value).__name__}")
    if name not in _MULTILINE and CONTROL.search(value):
        raise _invalid(key, "without line breaks and other control characters")
    if name in _URLS and not is_server(value):
        raise _invalid(key, "a URL that begins with http:// or https:// and names a host")
    if name in {"timeout", "connect_timeout"} and not _duration(value):
        raise _invalid(key, "a duration, such as '500ms', '30s' or '2m'")
    group = options.connection if name in CONNECTION_NAMES else options.config
    group[name] = value


def _is_prefixed(key: str) -> bool:
    return key.lower().startswith(("aws_", "azure_", "google_"))


def _invalid(key: str, expected: str) -> ValueError:
    return ValueError(f"the value of `storage_options[{key!r}]` must be {expected}")


def _number(key: str, value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type] # other types raise
    except (TypeError, ValueError):
        number = -1
    if not 0 <= number < 1 << 40 or isinstance(value, bool):
        raise _invalid(key, "a number, 0 or more")
    return number


def _duration(text: str) -> timedelta | None:
    match = _DURATION.fullmatch(text.strip())
    if not match:
        return None
    unit = "ms" if match[2].startswith("ms") else match[2][0]
    duration = timedelta(**{_UNITS[unit]: int(match[1])})
    return duration if duration > timedelta() else None


def is_server(url: str) -> bool:
    """Return whether a URL of http or https is one on which obstore does not panic.

    Examples:
        >>> is_server("http://127.0.0.1:9000"), is_server("127.0.0.1:9000")
        (True, False)
    """
    try:
        parts = urlsplit(url)
        return bool(
            parts.scheme in {"http", "https"}
            and re.fullmatch(r"[\w.:-]+", parts.hostname or "")
            and parts.port != 0
            and not re.search(rf"\s|{CONTROL.pattern}", url)
        )
    except ValueError:  # an invalid port
        return False


def _meanings() -> dict[str, list[tuple[str, str]]]:
    """Return what each spelling means: the name of an option, by cloud."""
    found: dict[str, list[tuple[str, str]]] = {}
    for cloud, prefixes in _PREFIXES.items():
        names = {name: name for name in [*NAMES[cloud], *CONNECTION_NAMES, *_IGNORED]}
        names |= _ALIASES[cloud]
        spelled = {prefix + spelling: names[spelling] for prefix in prefixes for spelling in names}
        for spelling, name in (spelled | {name: name for name in _RETRY_FIELDS}).items():
            found.setdefault(spelling, []).append((cloud, name))
    return found


_MEANINGS: Final = _meanings()
