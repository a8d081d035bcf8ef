"""`pvcnoded token`, `pvcnoded join` and `pvcnoded ensemble`: how nodes are added, by who is root on them."""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Mapping, Sequence
from ipaddress import ip_interface
from pathlib import Path

from pvc_core.clock import SystemClock
from pvc_core.config import Config, ConfigError, Paths, load
from pvc_core.daemon.given import networks, words_of
from pvc_core.daemon.hostnet import make
from pvc_core.daemon.init import prepare
from pvc_core.daemon.members import checked, resolves
from pvc_core.errors import Invalid, Refused
from pvc_core.founding import ensemble, joining, pki
from pvc_core.founding.places import cluster_address, pki_of
from pvc_core.founding.token import Token, Tokens, decode
from pvc_core.ids import checked_name
from pvc_core.loader import load_all


def token_command(options: argparse.Namespace) -> int:
    """Prints the token, once. Raises Refused (not a coordinator, no cluster network), Permanent, Invalid."""
    config = load(options.config, node=options.node)
    place, own = pki.Place(pki_of(config)), cluster_address(config)
    if not place.ca_key.exists():
        raise Refused(
            f"{config.node} cannot let nodes in: it has no {place.ca_key}", help="make the token on a coordinator"
        )
    if own is None:
        raise Refused(
            "nodes join over the cluster network, and pvc.yaml gives this node no address there",
            help="add host_networks.cluster with device and address, and restart pvcnoded",
        )
    blank = Token(
        cluster=config.cluster.name,
        node=config.node,
        host=str(own),
        port=config.peer_port,
        fingerprint=pki.fingerprint(place.need(place.ca_crt)),
        id="",
        secret="",
    )
    tokens = Tokens(config.paths.state, SystemClock())
    made = tokens.make(
        blank, node=options.for_node or "", minutes=options.minutes, coordinators=_future(config, options)
    )
    print(made.encode())
    return 0


def _future(config: Config, options: argparse.Namespace) -> tuple[str, ...]:
    """Who shall be coordinators when the node is in. Raises Refused."""
    names = tuple(name for name in (options.coordinators or "").split(",") if name)
    if names:
        if options.for_node not in names:
            raise Refused("a token that makes a coordinator is for one node", help=f"--for one of {', '.join(names)}")
        checked(config, names, serves=lambda _: True, anyway=True)
    return names


def join_command(options: argparse.Namespace) -> int:
    """Make this machine a node of the cluster a token names. Prints what it wrote and what is left to do.

    Raises Invalid (no token), Refused (the token, the name, another cluster), Retry (nobody answers), ConfigError.
    """
    token, file = decode(options.token), Path(options.config)
    own_networks = networks(options.network)
    given_addresses = {**_addresses(options.address),
                       **{name: str(network.address) for name, network in own_networks.items()}}  # fmt: skip
    config = load(file, node=options.node) if file.exists() else None
    node = config.node if config else checked_name(options.node or socket.gethostname().partition(".")[0], "node")
    paths = config.paths if config else Paths()
    joining.check_unmarried(pki.Place(paths.secrets.with_name("pki")), token)
    make(own_networks)  # named by the person: the way to the coordinator may lead over one of them
    patience = joining.Patience(SystemClock(), options.waits, _tell, options.wait)
    given = joining.ask_to_join(token, node, _own(config, given_addresses), patience)
    told = {name: words_of(network) for name, network in own_networks.items()}
    text = given.config(given_addresses, told) if config is None else None
    for path in joining.keep(given, paths, config=(file, text) if text is not None else None):
        print(f"wrote {path}")
    if given.votes_empty:
        ensemble.let_vote_empty(paths.state)
    print(f"{node} is a member of cluster {token.cluster}")
    _finish(file, node, given)
    return 0


def _tell(line: str) -> None:
    print(f"pvcnoded: {line}", file=sys.stderr, flush=True)


def ensemble_command(options: argparse.Namespace) -> int:
    """Render ZooKeeper's files anew. Raises Refused where no server belongs."""
    config = load(options.config, node=options.node)
    if not ensemble.concerns(config):
        raise Refused(
            f"no ZooKeeper server belongs on {config.node}",
            help="coordinators of a cluster with `store: {zookeeper: {}}` have one",
        )
    changed = ensemble.ensure_rendered(config)
    print("".join(f"wrote {path}\n" for path in changed) or "nothing has changed", end="" if changed else "\n")
    if changed:
        print("restart it, one coordinator at a time: systemctl restart pvc-zookeeper")
    return 0


def _finish(file: Path, node: str, given: joining.Given) -> None:
    try:
        config, loaded = load_all(file, node=node)
    except ConfigError as error:
        print(f"{file} must be filled in before the daemons start; then run `pvcnoded --check`:")
        print(error)
        return
    prepare(config, loaded)
    for name in config.cluster.coordinators:
        if name != node and not resolves(name):
            address = given.addresses.get(name, "ITS CLUSTER ADDRESS")
            print(f"the name {name} is not known here: add `{address} {name}` to /etc/hosts")
    print("start the daemons when you have looked over pvc.yaml")


def _own(config: Config | None, given: Mapping[str, str]) -> Sequence[pki.Ip]:
    """The addresses that go into the certificate."""
    if "cluster" in given:
        return [ip_interface(given["cluster"]).ip]
    own = cluster_address(config) if config else None
    return [own] if own else []


def _addresses(words: Sequence[str]) -> dict[str, str]:
    """NETWORK=ADDRESS/PREFIX, as --address gives them. Raises Invalid."""
    found: dict[str, str] = {}
    for word in words:
        network, sign, address = word.partition("=")
        try:
            if not sign or network not in ("upstream", "cluster", "storage"):
                raise ValueError("the network is upstream, cluster or storage")
            found[network] = str(ip_interface(address))
        except ValueError as error:
            raise Invalid(f"--address {word}: {error}", help="like --address cluster=10.1.0.12/24") from None
    return found
