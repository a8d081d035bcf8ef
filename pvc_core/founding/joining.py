"""A new node's side of joining: ask whom a token names, believe only the cluster it names, keep what it gives.

Nothing is written before all of it is there. What comes after (plugins, ZooKeeper's files) is daemon/joining.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pvc_core.clock import Clock
from pvc_core.config import Paths
from pvc_core.errors import Refused, Retry
from pvc_core.founding import pki
from pvc_core.founding.files import PUBLIC, File, write_all
from pvc_core.founding.secrets import secret_file
from pvc_core.founding.token import Token
from pvc_core.founding.welcome import FILL_IN
from pvc_core.founding.yamltext import merged
from pvc_core.peer import Unreachable, ask
from pvc_core.peer.network import Address, stranger

ANSWER_S = 20.0
TRY_S = 8.0
"""One try to reach it: where packets are lost without a word, a person shall soon read what is waited for."""
PAUSE_S = 0.5
"""Between two tries to reach the coordinator; each is one connection."""


@dataclass(frozen=True, slots=True)
class Patience:
    """A network that this node has made a moment ago may need seconds before it carries anything: a bridge or a
    switch's port that learns first, a bond without its partner, a pvcnoded over there that is being restarted.
    """

    clock: Clock
    pause: Callable[[float], None]
    tell: Callable[[str], None]
    wait_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the coordinator gave, not yet written."""

    node: str
    key: str
    result: Mapping[str, Any]

    @property
    def votes_empty(self) -> bool:
        return bool(self.result["votes_empty"])

    @property
    def addresses(self) -> Mapping[str, str]:
        """Cluster addresses by node, as far as they are known."""
        return dict(self.result["addresses"])

    def config(self, addresses: Mapping[str, str], words: Mapping[str, Mapping[str, str]]) -> str:
        """A pvc.yaml for this node; `addresses` are its own by network, `words` what else it was told of a network.

        Raises NotFound when the cluster has no such network.
        """
        text = str(self.result["config"])
        for network, address in addresses.items():
            text = text.replace(f"{FILL_IN}{network}", address)
        for network, told in words.items():
            text = merged(text, ("host_networks", network), told)
        return text


def check_unmarried(place: pki.Place, token: Token) -> None:
    """Raises Refused when this node belongs to another cluster already; joining its own anew is well."""
    if place.ca_crt.exists() and pki.fingerprint(place.need(place.ca_crt)) != token.fingerprint:
        raise Refused(
            f"this node belongs to another cluster already: {place.ca_crt} is not of cluster {token.cluster}",
            help=f"if it shall change clusters, stop PVC on it and move {place.directory} and the secrets away first",
        )


def ask_to_join(token: Token, node: str, addresses: Sequence[pki.Ip], patience: Patience) -> Given:
    """Spends the token. Raises Refused, Retry (nobody answers), Invalid."""
    authority = _authority(token, patience)
    key, request = pki.new_request(node)
    trusted = Address(token.node, token.host, token.port, stranger(authority))
    args = {
        "token": token.id,
        "secret": token.secret,
        "node": node,
        "addresses": [str(address) for address in addresses],
        "request": request,
    }
    try:
        with ask(trusted, "join", args, deadline_s=ANSWER_S) as reply:
            return Given(node=node, key=key, result=reply.result)
    except Unreachable as error:
        raise Retry(
            f"coordinator {token.node} answered and then fell silent: {error.message}",
            help=f"run it again; if the token was used, make a new one on a coordinator: pvcnoded token --for {node}",
        ) from None


def keep(given: Given, paths: Paths, *, config: tuple[Path, str] | None) -> list[Path]:
    """Write it, the node's certificate last: where that is, the rest is. Returns the files. Raises Permanent."""
    result, place = given.result, pki.Place(paths.secrets.with_name("pki"))
    files = [secret_file(paths.secrets, str(name), str(word)) for name, word in result["secrets"].items()]
    if result["authority_key"]:
        files.append(File(place.ca_key, str(result["authority_key"])))
        files.append(File(place.revoked_crl, str(result["revoked"]), PUBLIC))
    files.append(File(place.ca_crt, str(result["authority"]), PUBLIC))
    if config is not None:
        files.append(File(config[0], config[1], PUBLIC))
    files += [File(place.node_key, given.key), File(place.node_crt, str(result["certificate"]), PUBLIC)]
    write_all(files)
    return [file.path for file in files]


def _authority(token: Token, patience: Patience) -> str:
    """The authority's certificate, which is the one that the token's fingerprint names."""
    told = _told(token, patience)
    if pki.fingerprint(told) != token.fingerprint:
        raise Refused(
            f"who answers at {token.host} port {token.port} is not of the cluster this token is for",
            help="someone may be listening in between; look before you try again",
        )
    return told


def _told(token: Token, patience: Patience) -> str:
    """Asked again and again: it changes nothing over there, and spends no token."""
    anybody = Address(token.node, token.host, token.port, stranger(None))
    began_s, waiting = patience.clock.boottime_s(), False
    while True:
        try:
            with ask(anybody, "authority", deadline_s=TRY_S) as reply:
                return str(reply.result.get("certificate", ""))
        except Retry as error:
            left_s = began_s + patience.wait_s - patience.clock.boottime_s()
            if left_s <= 0:
                raise Retry(
                    f"coordinator {token.node} could not be asked for {patience.wait_s:g} s: {error.message}",
                    help="does pvcnoded run there, and is the cluster network up on both?",
                ) from None
            if not waiting:
                patience.tell(f"waiting up to {left_s:.0f} s for {token.node}: {error.message}")
                waiting = True
            patience.pause(min(PAUSE_S, left_s))
