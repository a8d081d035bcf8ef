"""Which cluster a run talks to: the file of known connections, and the one called `local`.

The file is PVC 1.0's: pvc.json, name -> {description, host, port, scheme, api_key}. `local` is the API's socket on this
machine; who may open it needs no key.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pvc_cli.errors import CliError, NoAnswer, NotThere

API_SOCKET = Path("/run/pvc/api.sock")
API_PORT = 7370


@dataclass(frozen=True)
class Endpoint:
    """Where an API listens. `socket_path` stands instead of host and port when it is a socket of this machine."""

    scheme: str
    host: str
    port: int
    api_key: str = ""
    socket_path: str = ""
    verify: bool = True

    @property
    def url(self) -> str:
        if self.socket_path:
            return f"unix:{self.socket_path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@dataclass(frozen=True)
class Connection:
    """One entry of the file. `api_key` may be empty."""

    description: str
    host: str
    port: int
    scheme: str
    api_key: str

    def endpoint(self, *, verify: bool) -> Endpoint:
        return Endpoint(self.scheme, self.host.strip("[]"), self.port, self.api_key, verify=verify)


@dataclass(frozen=True)
class ConnectionStore:
    """The file `pvc.json` in `directory`, written with `permissions` because it holds API keys."""

    directory: Path
    permissions: int = 0o600

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> ConnectionStore:
        text = environ.get("PVC_CLIENT_DB_PERMS", "600")
        try:
            permissions = int(text, 8)
        except ValueError:
            raise CliError(
                f'PVC_CLIENT_DB_PERMS is "{text}", which is no octal number', help="for example 600"
            ) from None
        if "PVC_CLIENT_DIR" in environ:
            return cls(Path(environ["PVC_CLIENT_DIR"]), permissions)
        # Path.home() asks the password database when HOME is not set (a cron job).
        home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
        return cls(home / ".config" / "pvc", permissions)

    @property
    def path(self) -> Path:
        return self.directory / "pvc.json"

    def read(self) -> dict[str, Connection]:
        """All connections by name. Entries of PVC 1.0 that point at a node's configuration file are left out."""
        try:
            found = json.loads(self.path.read_text())
            return {
                name: Connection(
                    description=str(entry.get("description", "")),
                    host=str(entry["host"]),
                    port=int(entry["port"]),
                    scheme=str(entry.get("scheme", "http")),
                    api_key=str(entry.get("api_key") or ""),
                )
                for name, entry in found.items()
                if "cfgfile" not in entry
            }
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CliError(
                f"{self.path} is no list of connections: {error!r}",
                help="repair it, or move it away and add them again",
            ) from error

    def add(self, name: str, connection: Connection) -> None:
        self._write(self._raw() | {name: asdict(connection)})

    def remove(self, name: str) -> None:
        known = self._raw()
        if name not in self.read():
            raise NotThere(f'There is no connection "{name}" in {self.path}.', help="pvc connection list shows them")
        del known[name]
        self._write(known)

    def _raw(self) -> dict[str, Any]:
        """As it stands in the file, so that entries we do not use survive a change."""
        self.read()
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    def _write(self, entries: Mapping[str, Any]) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self.path.with_name(f".pvc.json.{os.getpid()}")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, self.permissions)
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, self.permissions)
            json.dump(entries, file, indent=2)
        os.replace(new, self.path)


def local_socket(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("PVC_API_SOCKET", API_SOCKET))


def choose(name: str | None, store: ConnectionStore, environ: Mapping[str, str]) -> Endpoint:
    """The endpoint for -c NAME, else for PVC_API_URL, else `local`. Raises CliError when there is none."""
    verify = truth(environ.get("PVC_CLIENT_VERIFY_SSL", "True"))
    if name is None and "PVC_API_URL" in environ:
        return from_url(environ["PVC_API_URL"], environ.get("PVC_API_KEY", ""), verify=verify)
    if name is None or name == "local":
        return local(store, environ)
    known = store.read()
    if name not in known:
        names = ", ".join(sorted(known)) or "none yet"
        raise NotThere(
            f'There is no connection "{name}" in {store.path}.',
            help=f"known are: {names}; add one with: pvc connection add {name} -a ADDRESS -k API_KEY",
        )
    return known[name].endpoint(verify=verify)


def local(store: ConnectionStore, environ: Mapping[str, str]) -> Endpoint:
    socket_path = local_socket(environ)
    if not socket_path.exists():
        names = ", ".join(sorted(store.read()))
        raise NoAnswer(
            f'Connection "local" needs {socket_path}, which is not there: no PVC API runs on this machine.',
            help=f"choose another cluster with -c: {names}"
            if names
            else "start pvcapid here, or add a cluster with: pvc connection add NAME -a ADDRESS -k API_KEY",
        )
    return Endpoint("http", "localhost", 0, socket_path=str(socket_path))


def from_url(url: str, api_key: str, *, verify: bool) -> Endpoint:
    """An endpoint from http://host:port, https://host:port or unix:/path; a path after the port is ignored."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return Endpoint("http", "localhost", 0, api_key, socket_path=parts.path)
    try:
        port = parts.port or API_PORT
    except ValueError:
        port = 0
    if parts.scheme not in ("http", "https") or not parts.hostname or not port:
        raise CliError(f'PVC_API_URL is "{url}"', help="write it as http://HOST:7370, https://HOST:7370 or unix:/PATH")
    return Endpoint(parts.scheme, parts.hostname, port, api_key, verify=verify)


def checked_host(address: str) -> str:
    """A name or address alone. Raises CliError for one with scheme or port, which have options of their own."""
    host = address.strip("[]")
    if "/" in address or not host or any(letter.isspace() for letter in address):
        raise CliError(f'"{address}" is no name or address', help="like 10.0.0.250; --port and --ssl say the rest")
    if host.count(":") == 1:
        name, _, port = host.partition(":")
        raise CliError(f'"{address}" is an address with a port', help=f"give -a {name} -p {port}")
    return address


def truth(text: str) -> bool:
    return text.strip().lower() not in ("false", "no", "off", "0", "")


def masked(connection: Connection) -> Connection:
    """With all but the first and last two characters of the key hidden; a short key is hidden whole."""
    key = connection.api_key
    hidden = f"{key[:2]}{'*' * 8}{key[-2:]}" if len(key) > 12 else "*" * len(key)
    return replace(connection, api_key=hidden)
