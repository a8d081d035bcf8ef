"""`pvc connection`: the clusters this command line knows, and how each of them is."""

from __future__ import annotations

from typing import Any

import click

from pvc_cli.app import App
from pvc_cli.complete import connections
from pvc_cli.connections import API_PORT, Connection, Endpoint, checked_host, local_socket, masked, truth
from pvc_cli.errors import CliError
from pvc_cli.formats import LIST, emit, format_option
from pvc_cli.lazy import LazyGroup
from pvc_cli.options import Number
from pvc_cli.tables import Column, table
from pvc_cli.views.cluster import counts
from pvc_cli.views.node import health

COLUMNS = (
    Column("Name", lambda c: c["name"]),
    Column("Description", lambda c: c["description"]),
    Column("Address", lambda c: c["address"]),
    Column("Port", lambda c: c["port"], right=True),
    Column("Scheme", lambda c: c["scheme"]),
    Column("API key", lambda c: c["api_key"] or "-"),
)

DETAIL = (
    Column("Name", lambda c: c["name"]),
    Column("Description", lambda c: c["description"]),
    Column("Health", lambda c: health(of(c, "cluster_health", {}).get("health")), right=True),
    Column("Primary", lambda c: of(c, "primary_node", "-")),
    Column("Version", lambda c: of(c, "pvc_version", "-")),
    Column("Nodes", lambda c: counts(of(c, "nodes", None))),
    Column("VMs", lambda c: counts(of(c, "vms", None))),
    Column("Networks", lambda c: of(c, "networks", "-"), right=True),
    Column("Pools", lambda c: of(c, "pools", "-"), right=True),
    Column("Volumes", lambda c: of(c, "volumes", "-"), right=True),
    Column("Answer", lambda c: c["error"] or "ok"),
)


@click.group(cls=LazyGroup)
def connection() -> None:
    """The clusters this command line knows. "local" is this machine's own; it needs no entry and no key."""


@connection.command()
@click.argument("name")
@click.option("-d", "--description", default="N/A", show_default=True, help="A few words about the cluster.")
@click.option("-a", "--address", required=True, help="Name or address of its API.")
@click.option("-p", "--port", type=Number(1, 65535), default=API_PORT, show_default=True, help="Its port.")
@click.option("-k", "--api-key", default="", help="A key made there by: pvc key add.")
@click.option("-s/-S", "--ssl/--no-ssl", "tls", default=False, help="Whether it speaks https [no-ssl].")
@click.pass_obj
def add(app: App, name: str, description: str, address: str, port: int, api_key: str, tls: bool) -> None:
    """Add the cluster NAME, or change its entry."""
    if name == "local":
        raise CliError('"local" always means this machine\'s own cluster.', help="choose another name")
    app.store.add(name, Connection(description, checked_host(address), port, "https" if tls else "http", api_key))
    app.out.say(f'Added connection "{name}" to {app.store.path}.')


@connection.command()
@click.argument("name", shell_complete=connections)
@click.pass_obj
def remove(app: App, name: str) -> None:
    """Forget the cluster NAME."""
    app.store.remove(name)
    app.out.say(f'Removed connection "{name}" from {app.store.path}.')


@connection.command("list")
@click.option("-k", "--show-keys", is_flag=True, help="Show the API keys in full.")
@format_option(*LIST, "json-prometheus")
@click.pass_obj
def list_connections(app: App, show_keys: bool, format_: str) -> None:
    """List the clusters; json-prometheus is for Prometheus' file_sd_configs."""
    rows = entries(app, show_keys)
    if format_ == "json-prometheus":
        format_, rows = "json", [target(row) for row in rows]
    emit(
        app,
        format_,
        rows,
        pretty=lambda d: table(app.out, COLUMNS, d, empty="No cluster is known; pvc connection add adds one."),
        raw=lambda d: [c["name"] for c in d],
    )


@connection.command()
@format_option("pretty", "json", "json-pretty")
@click.pass_obj
def detail(app: App, format_: str) -> None:
    """Ask every known cluster how it is."""
    from concurrent.futures import ThreadPoolExecutor

    verify = truth(app.environ.get("PVC_CLIENT_VERIFY_SSL", "True"))
    asked: list[tuple[str, str, Endpoint]] = [
        (name, entry.description, entry.endpoint(verify=verify)) for name, entry in sorted(app.store.read().items())
    ]
    if local_socket(app.environ).exists():
        endpoint = Endpoint("http", "localhost", 0, socket_path=str(local_socket(app.environ)))
        asked.insert(0, ("local", LOCAL_DESCRIPTION, endpoint))
    with ThreadPoolExecutor(max_workers=16) as pool:
        rows = list(pool.map(ask_status, asked))
    emit(app, format_, rows, pretty=lambda d: table(app.out, DETAIL, d, empty="No cluster is known."))


LOCAL_DESCRIPTION = "This machine's own cluster"


def entries(app: App, show_keys: bool) -> list[dict[str, Any]]:
    rows = []
    if local_socket(app.environ).exists():
        rows.append(row("local", Connection(LOCAL_DESCRIPTION, str(local_socket(app.environ)), 0, "unix", "")))
    for name, entry in sorted(app.store.read().items()):
        rows.append(row(name, entry if show_keys else masked(entry)))
    return rows


def row(name: str, entry: Connection) -> dict[str, Any]:
    return {
        "name": name,
        "description": entry.description,
        "address": entry.host,
        "port": entry.port,
        "scheme": entry.scheme,
        "api_key": entry.api_key,
    }


def target(found: dict[str, Any]) -> dict[str, Any]:
    where = f"localhost:{API_PORT}" if found["scheme"] == "unix" else f"{found['address']}:{found['port']}"
    labels = {"pvc_cluster_name": found["description"], "pvc_cluster_id": found["name"]}
    return {"targets": [where], "labels": labels}


def ask_status(asked: tuple[str, str, Endpoint]) -> dict[str, Any]:
    """One row of `detail`. A cluster that does not answer has `status` null and the reason in `error`."""
    from pvc_cli.api import Api
    from pvc_cli.transport import Transport

    name, description, endpoint = asked
    api = Api(Transport(endpoint))
    found: dict[str, Any] = {"name": name, "description": description, "url": endpoint.url, "status": None, "error": ""}
    try:
        found["status"] = api.get("/status").body
    except CliError as error:
        found["error"] = error.message
    finally:
        api.close()
    return found


def of(found: dict[str, Any], key: str, missing: Any) -> Any:
    return (found["status"] or {}).get(key, missing)
