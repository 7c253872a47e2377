"""Where the credentials of cloud storage come from, in the order that Polars has.

Options come first, then the environment, then profiles, then the metadata of the
instance. obstore knows the environment and the metadata, and the application default
credentials of gcloud. What is here is the rest: the profiles of AWS, the logins that
take the packages of the clouds, with which Polars has ways to ask, and the command `az`.
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

Provider: TypeAlias = Callable[[], dict[str, Any]]
"""What obstore calls for credentials, again when they have expired."""

# Any of which, in the options or the environment, is the beginning of credentials.
_GIVEN: Final = {
    "s3": frozenset(
        {"access_key_id", "container_credentials_full_uri", "container_credentials_relative_uri"}
        | {"secret_access_key", "skip_signature", "web_identity_token_file"}
    ),
    "az": frozenset(
        {"account_key", "client_id", "client_secret", "credential_type", "federated_token_file"}
        | {"msi_endpoint", "object_id", "msi_resource_id", "sas_key", "skip_signature", "token"}
        | {"use_azure_cli", "use_emulator", "fabric_token_service_url"}
    ),
    "gs": frozenset({"bearer_token", "service_account", "service_account_key", "skip_signature"}),
}
_VARIABLES: Final = {
    "s3": [f"AWS_{name.upper()}" for name in _GIVEN["s3"]],
    "az": [
        f"AZURE_{middle}{name}"
        for middle in ("", "STORAGE_")
        for name in (
            *(name.upper() for name in _GIVEN["az"]),
            *("ACCESS_KEY", "MASTER_KEY", "SAS_TOKEN", "IDENTITY_ENDPOINT"),
        )
    ],
    "gs": [
        f"GOOGLE_{name}"
        for name in (
            *(name.upper() for name in _GIVEN["gs"]),
            "SERVICE_ACCOUNT_PATH",
        )
    ],
}
# Of application default credentials, those that obstore reads.
_PLAIN_TYPES: Final = {"authorized_user", "service_account"}


class Credentials(NamedTuple):
    """What the credentials of a store take.

    Attributes:
        config: The options for obstore, by names without prefix.
        provider: What obstore is to ask, if not its own.
        told: Whether somebody tells them: if not, obstore asks the instance.
    """

    config: dict[str, str]
    provider: Provider | None = None
    told: bool = True


class CredentialsError(Exception):
    """Credentials that the options ask for cannot be had; says why, and nothing secret."""


def complete(cloud: str, config: Mapping[str, str]) -> Credentials:
    """Add to the options of a store what its credentials take.

    Args:
        cloud: `s3`, `az` or `gs`.
        config: The options, by names without prefix.

    Raises:
        CredentialsError: If a profile that is named is not there, or takes a package
            that is not.
    """
    completed = dict(config)
    given = not _GIVEN[cloud].isdisjoint(config) or any(map(os.environ.get, _VARIABLES[cloud]))
    if cloud == "s3":
        return _complete_aws(completed, given=given)
    if given:
        return Credentials(completed)
    if cloud == "gs":
        return _complete_google(completed)
    return _complete_azure(completed)


def _complete_aws(config: dict[str, str], *, given: bool) -> Credentials:
    named = config.pop("profile", None)
    name = named or os.environ.get("AWS_PROFILE") or "default"
    profile = _read_aws_profile(name)
    if profile is None:
        if named:
            msg = "no such profile, as `aws_profile` names, in the files of AWS"
            raise CredentialsError(msg)
        return Credentials(config, told=given)
    if not (config.keys() & {"region", "default_region"}) and not (
        os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    ):
        config |= {"region": profile["region"]} if "region" in profile else {}
    if "endpoint" not in config and not any(
        map(os.environ.get, ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"))
    ):
        config |= {"endpoint": profile["endpoint_url"]} if "endpoint_url" in profile else {}
    if given and not named:
        return Credentials(config)
    keys = {
        ours: profile[theirs]
        for ours, theirs in (
            ("access_key_id", "aws_access_key_id"),
            ("secret_access_key", "aws_secret_access_key"),
            ("session_token", "aws_session_token"),
        )
        if theirs in profile
    }
    if {"access_key_id", "secret_access_key"} <= keys.keys():
        return Credentials(config | keys)
    asks = ("role_arn", "sso_session", "sso_start_url", "credential_process", "login_session")
    if not any(key in profile for key in asks):
        return Credentials(config, told=False)
    if importlib.util.find_spec("boto3") is None:
        msg = "this profile of AWS needs the package boto3: pip install boto3"
        raise CredentialsError(msg)
    ask = pl.CredentialProviderAWS(profile_name=name)

    def provide() -> dict[str, Any]:
        credentials, expiry = ask()
        return {
            "access_key_id": credentials["aws_access_key_id"],
            "secret_access_key": credentials["aws_secret_access_key"],
            "token": credentials.get("aws_session_token"),
            "expires_at": _time(expiry),
        }

    return Credentials(config, provide)


def _read_aws_profile(name: str) -> dict[str, str] | None:
    """What the files of AWS say of a profile, the credentials before the rest."""
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
        ask = pl.CredentialProviderAzure(tenant_id=config.get("tenant_id"))
    except ImportError:  # it takes azure-identity
        if not shutil.which("az"):
            return Credentials(config, told=False)
        return Credentials(config | {"use_azure_cli": "true"})

    def provide() -> dict[str, Any]:
        credentials, expiry = ask()
        return {"token": credentials["bearer_token"], "expires_at": _time(expiry)}

    return Credentials(config, provide)


def _complete_google(config: dict[str, str]) -> Credentials:
    """Ask google-auth, where the login is of a kind that takes it."""
    places = (
        config.get("application_credentials"),
        os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"),
        "~/.config/gcloud/application_default_credentials.json",
    )
    place = next(filter(None, places), "")
    try:
        login = json.loads(Path(place).expanduser().read_bytes())
        plain = login["type"] in _PLAIN_TYPES
    except (OSError, ValueError, LookupError, TypeError):
        return Credentials(config, told=False)
    if plain or config.get("application_credentials"):
        return Credentials(config)
    try:
        ask = pl.CredentialProviderGCP()
    except ImportError as error:
        msg = "this login of Google needs the package google-auth: pip install google-auth"
        raise CredentialsError(msg) from error

    def provide() -> dict[str, Any]:
        credentials, expiry = ask()
        return {"token": credentials["bearer_token"], "expires_at": _time(expiry)}

    return Credentials(config, provide)


def _time(expiry: int | None) -> datetime | None:
    return None if expiry is None else datetime.fromtimestamp(expiry, UTC)
