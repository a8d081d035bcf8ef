"""The settings of pvc.yaml as typed values, with what is fixed beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pvc_core.units import KIB, MIB

BASE = "/api/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    listen: str = "0.0.0.0"
    port: int = 7370
    """0 takes a free one (tests)."""
    socket: str = "/run/pvc/api.sock"
    """"" listens on TCP only."""
    certificate: str = ""
    """"" speaks plain HTTP."""
    certificate_key: str = ""
    certificate_look_s: float = 5.0
    key_required: bool = True
    metrics: str = "open"
    """"open", "key" or "off"."""
    failed_logins: int = 20
    """Wrong keys from one address within a minute; then it waits."""
    workers: int = 32
    """Threads for what writes or asks a node; looking at the picture has its own."""
    lookers: int = 4
    streams: int = 200
    sessions: int = 32
    """Consoles and screens over websocket at once."""
    session_idle_s: float = 3600.0
    """One in which nothing is said or typed for so long is closed."""
    body_limit_bytes: int = MIB
    body_within_s: float = 30.0
    """An ordinary body must have come by then."""
    idle_s: float = 60.0
    """An upload that stalls, or a reader that takes nothing, for so long is given up."""
    head_within_s: float = 10.0
    head_limit_bytes: int = 64 * KIB
    linger_s: float = 10.0
    """A client answered before its body's end may go on sending for so long and so much; what comes is thrown away."""
    linger_bytes: int = 64 * MIB
    connections: int = 4096
    stop_within_s: float = 3.0


def settings_from(config: Mapping[str, Any]) -> Settings:
    tls = config.get("tls") or {}
    return Settings(
        listen=str(config["listen"]),
        port=config["port"],
        socket=str(config["socket"]),
        certificate=str(tls.get("certificate", "")),
        certificate_key=str(tls.get("key", "")),
        key_required=config["key_required"],
        metrics=config["metrics"],
        failed_logins=config["failed_logins"],
        workers=config["workers"],
        streams=config["streams"],
        sessions=config["sessions"],
        session_idle_s=config["session_idle_s"],
        body_limit_bytes=config["body_limit"],
    )
