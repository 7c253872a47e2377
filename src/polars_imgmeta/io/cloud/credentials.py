"""The credentials of cloud storage, with the precedence that Polars uses.

Options come first, then the environment, then profiles, then the metadata of the
instance. obstore supports the environment, the metadata and the application default
credentials of gcloud. This module adds the rest: profiles of AWS, logins that need a
provider's package, through the credential providers of Polars, and the command `az`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Callable, Mapping
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import polars as pl

from polars_imgmeta.exceptions import AccessDeniedError

Provider: TypeAlias = Callable[[], dict[str, Any]]
"""A function that obstore calls for credentials, again when they have expired."""

# Any of these, in the options or behind a prefix in the environment, makes credentials
# explicit. Names that no option has are spellings in the environment alone.
_EXPLICIT: Final = {
    "s3": frozenset(
        {"access_key_id", "container_credentials_full_uri", "container_credentials_relative_uri"}
        | {"secret_access_key", "skip_signature", "web_identity_token_file"}
    ),
    "az": frozenset(
        {"access_key", "account_key", "client_id", "client_secret", "credential_type"}
        | {"fabric_token_service_url", "federated_token_file", "identity_endpoint", "master_key"}
        | {"msi_endpoint", "msi_resource_id", "object_id", "sas_key", "sas_token", "token"}
        | {"skip_signature", "use_azure_cli", "use_emulator"}
    ),
    "gs": frozenset(
        {"bearer_token", "service_account", "service_account_key", "service_account_path"}
        | {"skip_signature"}
    ),
}
_VARIABLE_PREFIXES: Final = {"s3": ["AWS_"], "az": ["AZURE_", "AZURE_STORAGE_"], "gs": ["GOOGLE_"]}
# The names of credentials in obstore, and in Polars.
_AWS_KEYS: Final = {
    "access_key_id": "aws_access_key_id",
    "secret_access_key": "aws_secret_access_key",
    "token": "aws_session_token",
}
_BEARER_KEYS: Final = {"token": "bearer_token"}
# The types of application default credentials that obstore reads.
_SUPPORTED_TYPES: Final = {"authorized_user", "service_account"}


ENDPOINT_VARIABLES: Final = {
    "s3": ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"),
    "az": ("AZURE_ENDPOINT", "AZURE_STORAGE_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
}
# What configures the region and the endpoint of AWS: options, and variables.
_AWS_SETTINGS: Final = {
    "region": ({"region", "default_region"}, ("AWS_REGION", "AWS_DEFAULT_REGION")),
    "endpoint": ({"endpoint"}, ENDPOINT_VARIABLES["s3"]),
}


class Credentials(NamedTuple):
    """The configuration of a store, with its credentials.

    Attributes:
        config: The options for obstore, by names without prefix.
        provider: The credential provider, or None for obstore's own.
        explicit: Whether credentials are configured; if not, obstore requests them from
            the instance.
    """

    config: dict[str, str]
    provider: Provider | None = None
    explicit: bool = True


def complete(cloud: str, config: Mapping[str, str]) -> Credentials:
    """Add credentials to the options of a store, which have names without prefix.

    Raises:
        AccessDeniedError: If a configured profile does not exist, or needs a package that
            is not installed.
    """
    completed = dict(config)
    names = _EXPLICIT[cloud]
    variables = (prefix + name.upper() for prefix in _VARIABLE_PREFIXES[cloud] for name in names)
    explicit = not names.isdisjoint(config) or any(map(os.environ.get, variables))
    if cloud == "s3":
        return _complete_aws(completed, explicit=explicit)
    if explicit:
        return Credentials(completed)
    return _complete_google(completed) if cloud == "gs" else _complete_azure(completed)


def is_configured(setting: str, config: Mapping[str, str]) -> bool:
    """Return whether options or the environment name the `region` or the `endpoint` of AWS."""
    options, variables = _AWS_SETTINGS[setting]
    return not options.isdisjoint(config) or any(map(os.environ.get, variables))


def _complete_aws(config: dict[str, str], *, explicit: bool) -> Credentials:
    named = config.pop("profile", None)
    name = named or os.environ.get("AWS_PROFILE") or "default"
    profile = _read_aws_profile(name)
    if profile is None:
        if named:
            msg = "no such profile, as `aws_profile` names, in the files of AWS"
            raise AccessDeniedError(msg)
        return Credentials(config, explicit=explicit)
    for option, key in (("region", "region"), ("endpoint", "endpoint_url")):
        if key in profile and not is_configured(option, config):
            config[option] = profile[key]
    if explicit and not named:
        return Credentials(config)
    names = ("access_key_id", "secret_access_key", "session_token")
    keys = {name: profile[f"aws_{name}"] for name in names if f"aws_{name}" in profile}
    if {"access_key_id", "secret_access_key"} <= keys.keys():
        return Credentials(config | keys)
    logins = {"role_arn", "sso_session", "sso_start_url", "credential_process", "login_session"}
    if logins.isdisjoint(profile):
        return Credentials(config, explicit=False)
    if importlib.util.find_spec("boto3") is None:
        msg = "this profile of AWS needs the package boto3: pip install boto3"
        raise AccessDeniedError(msg)
    return Credentials(config, _provider(pl.CredentialProviderAWS(profile_name=name), _AWS_KEYS))


def _read_aws_profile(name: str) -> dict[str, str] | None:
    """Read a profile from the files of AWS; the credentials file takes precedence."""
    found: dict[str, str] | None = None
    for variable, default, section in (
        ("AWS_CONFIG_FILE", "~/.aws/config", name if name == "default" else f"profile {name}"),
        ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials", name),
    ):
        parser = ConfigParser(interpolation=None, strict=False, default_section="\0")
        try:
            parser.read(Path(os.environ.get(variable) or default).expanduser(), encoding="utf-8")
        except (ConfigParserError, UnicodeDecodeError, OSError):
            continue
        if parser.has_section(section):
            found = (found or {}) | dict(parser.items(section))
    return found


def _complete_azure(config: dict[str, str]) -> Credentials:
    try:
        fetch = pl.CredentialProviderAzure(tenant_id=config.get("tenant_id"))
    except ImportError:  # azure-identity is not installed
        if not shutil.which("az"):
            return Credentials(config, explicit=False)
        return Credentials(config | {"use_azure_cli": "true"})
    return Credentials(config, _provider(fetch, _BEARER_KEYS))


def _complete_google(config: dict[str, str]) -> Credentials:
    """Use google-auth for logins of types that obstore does not read."""
    paths = (
        config.get("application_credentials"),
        os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"),
        "~/.config/gcloud/application_default_credentials.json",
    )
    path = next(filter(None, paths), "")
    try:
        login = json.loads(Path(path).expanduser().read_bytes())
        supported = login["type"] in _SUPPORTED_TYPES
    except (OSError, ValueError, LookupError, TypeError):
        return Credentials(config, explicit=False)
    if supported or config.get("application_credentials"):
        return Credentials(config)
    try:
        fetch = pl.CredentialProviderGCP()
    except ImportError:
        msg = "this login of Google needs the package google-auth: pip install google-auth"
        raise AccessDeniedError(msg) from None
    return Credentials(config, _provider(fetch, _BEARER_KEYS))


def _provider(fetch: pl.CredentialProvider, names: Mapping[str, str]) -> Provider:
    """Return what obstore calls, with its names for what a provider of Polars returns."""

    def provide() -> dict[str, Any]:
        credentials, expiry = fetch()
        expires = None if expiry is None else datetime.fromtimestamp(expiry, UTC)
        values = {ours: credentials.get(theirs) for ours, theirs in names.items()}
        return {**values, "expires_at": expires}

    return provide
