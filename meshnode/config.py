"""Configuration: flag > MESHNODE_… environment > file > default, in one frozen value. Read by daemon and cli only."""

from __future__ import annotations

import ipaddress
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from meshnode.dialects.abpa3.settings import Abpa3Settings
from meshnode.dialects.aisopod.settings import AisopodSettings
from meshnode.dialects.mylzip.settings import ENVIRONMENT as MYLZIP_ENVIRONMENT
from meshnode.dialects.mylzip.settings import MylzipSettings
from meshnode.dialects.salita.settings import SalitaSettings
from meshnode.domain.errors import MeshError
from meshnode.domain.invite import parse_host_port

Network = Annotated[str, msgspec.Meta(max_length=64)]
HostPort = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]

SYSTEM_DATA_DIR: Final = Path("/var/lib/meshnode")
_NOT_SETTINGS: Final = frozenset({"MESHNODE_DATA_DIR", "MESHNODE_CONFIG", "MESHNODE_VENV", "MESHNODE_INVOKED_AS"})

log = logging.getLogger(__name__)


class NodeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[node]`"""

    kind: Literal["desktop", "phone", "server", "other"] | None = None
    """What this machine is. Default: found out (Termux is a phone, a service or no display a server)."""


class ListenConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[listen]`"""

    public: Annotated[list[HostPort], msgspec.Meta(min_length=1, max_length=8)] = msgspec.field(
        default_factory=lambda: ["0.0.0.0:6969", "[::]:6969"]
    )
    """Where other nodes and devices reach us, HOST:PORT each, over TLS. Port 0 = any free one."""
    control_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 6970
    """Port on 127.0.0.1 for this machine's own command line; any free one if it is taken."""
    public_url: Annotated[str, msgspec.Meta(pattern=r"^https://", max_length=256)] | None = None
    """The address to put into invites where others reach us by another name than our own addresses."""
    plain: HostPort | None = None
    """A listener without TLS, HOST:PORT, for old clients on the local network that know no other. Anybody on the
    network can read what passes there."""
    plain_dialects: Annotated[list[Literal["salita", "aisopod", "mylzip", "abpa3"]], msgspec.Meta(max_length=4)] = (
        msgspec.field(default_factory=lambda: ["abpa3"])
    )
    """The dialects spoken on the plain listener."""


class PairingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[pairing]`"""

    offer_s: Annotated[float, msgspec.Meta(ge=30, le=3600)] = 600.0
    """Seconds an offer stays open."""
    lan_only: bool = True
    """Answer pairing requests from the local network only."""
    allowed_networks: list[Network] = msgspec.field(default_factory=list)
    """Networks that count as local too, for example 100.64.0.0/10 for Tailscale."""


class HeartbeatConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[heartbeat]`"""

    interval_s: Annotated[float, msgspec.Meta(ge=0.2, le=300)] | None = None
    """Seconds between heartbeats. Default: 15, on phones 60."""


class MdnsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[mdns]`"""

    enabled: bool = True
    """Advertise this node on the local network and look for others."""


class HttpConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[http]`"""

    trusted_proxies: list[Network] = msgspec.field(default_factory=list)
    """Reverse proxies whose forwarding headers are believed."""
    anonymous_per_minute: Annotated[int, msgspec.Meta(ge=10, le=1_000_000)] = 600
    """Requests without a token that one source may make in a minute."""


class TlsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[tls]`"""

    certificate: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)] | None = None
    """PEM file of a certificate of your own, its chain behind it. Read again when it changes. Default: one that the
    node makes and renews by itself."""
    key: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)] | None = None
    """PEM file of its private key, without a passphrase."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be configured."""

    node: NodeConfig = msgspec.field(default_factory=NodeConfig)
    listen: ListenConfig = msgspec.field(default_factory=ListenConfig)
    pairing: PairingConfig = msgspec.field(default_factory=PairingConfig)
    heartbeat: HeartbeatConfig = msgspec.field(default_factory=HeartbeatConfig)
    mdns: MdnsConfig = msgspec.field(default_factory=MdnsConfig)
    http: HttpConfig = msgspec.field(default_factory=HttpConfig)
    tls: TlsConfig = msgspec.field(default_factory=TlsConfig)
    salita: SalitaSettings = msgspec.field(default_factory=SalitaSettings)
    aisopod: AisopodSettings = msgspec.field(default_factory=AisopodSettings)
    mylzip: MylzipSettings = msgspec.field(default_factory=MylzipSettings)
    abpa3: Abpa3Settings = msgspec.field(default_factory=Abpa3Settings)


class Loaded(msgspec.Struct, frozen=True):
    """A configuration and where each setting came from."""

    config: Config
    origins: dict[str, str]  # "listen.control_port" → "flag" | "environment" | path of the file
    file: Path


def config_file(environ: Mapping[str, str] = os.environ) -> Path:
    """The file that is read: MESHNODE_CONFIG, systemd's directory, or the user's own."""
    if environ.get("MESHNODE_CONFIG"):
        return Path(environ["MESHNODE_CONFIG"])
    if environ.get("CONFIGURATION_DIRECTORY"):
        return Path(environ["CONFIGURATION_DIRECTORY"].split(":")[0]) / "config.toml"
    import platformdirs

    return Path(platformdirs.user_config_dir("meshnode", appauthor=False)) / "config.toml"


def data_directory(flag: str | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """Where this node keeps itself: --data-dir, MESHNODE_DATA_DIR, systemd's directory, or the user's own."""
    if flag or environ.get("MESHNODE_DATA_DIR"):
        return Path(flag or environ["MESHNODE_DATA_DIR"]).expanduser().absolute()
    if environ.get("STATE_DIRECTORY"):
        return Path(environ["STATE_DIRECTORY"].split(":")[0])
    import platformdirs

    return Path(platformdirs.user_data_dir("meshnode", appauthor=False))


def load_config(flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] = os.environ) -> Loaded:
    """Merge flags (dotted names), environment, file and defaults. Raises `bad_config` naming the setting."""
    file = config_file(environ)
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    try:
        content = _parse_toml(file.read_text("utf-8"))
    except FileNotFoundError:
        content = {}
        if environ.get("MESHNODE_CONFIG"):
            raise MeshError("bad_config", f"{file} does not exist (MESHNODE_CONFIG)") from None
    except (OSError, ValueError) as error:  # not UTF-8, not TOML
        raise MeshError("bad_config", f"{file}: {error}") from error
    sections = set(Config.__struct_fields__)
    for section, settings in content.items():
        if section not in sections or not isinstance(settings, dict):
            there_are = ", ".join(sorted(sections))
            raise MeshError("bad_config", f"{section}: no such section; there are {there_are} ({file})")
        for key, value in settings.items():
            _put(merged, origins, f"{section}.{key}", value, str(file))
    known = _known_settings()
    for name, text in environ.items():
        if not name.startswith("MESHNODE_") or name in _NOT_SETTINGS:
            continue
        dotted = MYLZIP_ENVIRONMENT.get(name) or name.removeprefix("MESHNODE_").lower().replace("__", ".")
        if dotted in known:
            _put(merged, origins, dotted, _from_text(text), "environment")
        else:
            log.warning("%s is not a setting; ignored", name)
    for dotted, value in (flags or {}).items():
        if value is not None:
            _put(merged, origins, dotted, value, "flag")
    try:
        config = msgspec.convert(merged, Config, strict=False)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        setting = where.strip("`")
        raise MeshError("bad_config", f"{setting or file}: {what} ({origins.get(setting, file)})") from error
    _check(config)
    return Loaded(config, origins, file)


def _parse_toml(text: str) -> dict[str, Any]:
    if not text or text.isspace():  # as on most machines: the parser need not be loaded
        return {}
    import tomllib

    return tomllib.loads(text)


def _known_settings() -> set[str]:
    defaults = Config()  # asking msgspec for the fields would evaluate every annotation
    return {f"{s}.{key}" for s in Config.__struct_fields__ for key in getattr(defaults, s).__struct_fields__}


def _put(merged: dict[str, Any], origins: dict[str, str], dotted: str, value: Any, origin: str) -> None:
    section, _, key = dotted.partition(".")
    merged.setdefault(section, {})[key] = value
    origins[dotted] = origin


def _from_text(text: str) -> Any:
    """An environment value: JSON for lists, else text, which msgspec converts to the setting's type."""
    if text.startswith("["):
        try:
            return msgspec.json.decode(text.encode())
        except msgspec.DecodeError:
            return text
    return text


def _check(config: Config) -> None:
    _check_tls(config.tls)
    if config.listen.public_url is not None:
        try:
            parse_host_port(config.listen.public_url.removeprefix("https://").rstrip("/"))
        except MeshError as error:
            raise MeshError(
                "bad_config", "listen.public_url: must look like https://HOST or https://HOST:PORT"
            ) from error
    plain = [] if config.listen.plain is None else [("listen.plain", config.listen.plain)]
    for setting, address in (*(("listen.public", address) for address in config.listen.public), *plain):
        try:
            parse_host_port(address)
        except MeshError as error:
            raise MeshError("bad_config", f"{setting}: {error.detail}") from error
    for setting, networks in (
        ("pairing.allowed_networks", config.pairing.allowed_networks),
        ("http.trusted_proxies", config.http.trusted_proxies),
    ):
        for network in networks:
            try:
                ipaddress.ip_network(network, strict=False)
            except ValueError as error:
                raise MeshError("bad_config", f"{setting}: {error}") from error


def _check_tls(tls: TlsConfig) -> None:
    if (tls.certificate is None) != (tls.key is None):
        missing, given = ("key", "certificate") if tls.key is None else ("certificate", "key")
        raise MeshError("bad_config", f"tls.{missing}: is missing; it goes with tls.{given}")
    for setting, text in (("tls.certificate", tls.certificate), ("tls.key", tls.key)):
        try:
            is_absolute = text is None or Path(text).expanduser().is_absolute()
        except RuntimeError:  # ~ of somebody unknown
            is_absolute = False
        if not is_absolute:
            raise MeshError("bad_config", f"{setting}: must be an absolute path, or begin with ~/")
