"""A coordinator's side of joining: who shows a token gets a certificate, the secrets and a pvc.yaml to begin with.

Asked over the peer channel by nodes that have no certificate yet; what they do with the answer is joining.py's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pvc_core.clock import Clock
from pvc_core.config import Config
from pvc_core.errors import Invalid, Refused
from pvc_core.founding import ensemble, pki
from pvc_core.founding.places import pki_of
from pvc_core.founding.secrets import STORE_API, STORE_NODE, STORE_QUORUM, read_secret
from pvc_core.founding.token import Tokens
from pvc_core.founding.yamltext import replaced
from pvc_core.ids import checked_name
from pvc_core.peer import Answer, Handler

FILL_IN = "FILL-IN-"
"""Stands, with the network's name, where the new node's own address belongs: no valid one, so that it cannot start
with another node's."""


@dataclass(frozen=True, slots=True)
class Welcome:
    config: Config
    clock: Clock
    known: Callable[[], Mapping[str, str]]
    """Nodes the cluster has, with their cluster addresses, as far as the store told."""
    log: Any

    def handlers(self) -> Mapping[str, Handler]:
        return {"authority": self.authority, "join": self.join}

    def authority(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        """The authority's certificate; it is no secret, and worth nothing before it was compared with a token."""
        return Answer({"certificate": self._place.need(self._place.ca_crt)})

    def join(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        """Raises Refused (the token, the name), Invalid."""
        try:
            id, secret, node, request = (str(args[key]) for key in ("token", "secret", "node", "request"))
            addresses = pki.checked_addresses(args["addresses"])
        except KeyError as error:
            raise Invalid(f"{error} is missing in what the new node sent", help="is it of the same version?") from None
        tokens = Tokens(self.config.paths.state, self.clock)
        self._check_name(node, tokens.bound_to(id, secret))
        certificate = pki.issue(self._place, request, node, addresses)
        result = {"certificate": certificate, **self._given(node, tokens.coordinators(id, secret))}
        tokens.use(id, secret, node)
        self.log.info(f"node {node} joins, certificate {pki.serial_of(certificate)}", object=f"node/{node}")
        return Answer(result)

    @property
    def _place(self) -> pki.Place:
        return pki.Place(pki_of(self.config))

    def _check_name(self, node: str, bound_to: str) -> None:
        checked_name(node, "node")
        if node == self.config.node:
            raise Refused(f"{node} is this coordinator's own name", help="give the new machine a hostname of its own")
        if node in self.known() and bound_to != node:
            raise Refused(
                f"there is a node {node} already",
                help=f"to install it anew make the token with: pvcnoded token --for {node}; else choose another name",
            )

    def _given(self, node: str, future: Sequence[str]) -> dict[str, Any]:
        config = self.config
        coordinators = tuple(future) or config.cluster.coordinators
        coordinator = node in coordinators
        names = (STORE_NODE, STORE_API, STORE_QUORUM) if coordinator else (STORE_NODE, STORE_API)
        return {
            "cluster": config.cluster.name,
            "authority": self._place.need(self._place.ca_crt),
            "authority_key": self._place.need(self._place.ca_key) if coordinator else "",
            "revoked": self._place.need(self._place.revoked_crl) if coordinator else "",
            "secrets": {name: read_secret(config.paths.secrets, name) for name in names},
            "votes_empty": self._votes_empty(node, coordinators),
            "config": replaced(blank(config), ("cluster", "coordinators"), f"[{', '.join(coordinators)}]"),
            "addresses": dict(self.known()),
        }

    def _votes_empty(self, node: str, coordinators: Sequence[str]) -> bool:
        config = self.config
        if not ensemble.concerns(config) or ensemble.was_in_a_quorum(config):
            return False
        return node in ensemble.first_voters(coordinators, config.node)


def blank(config: Config) -> str:
    """This node's pvc.yaml for another one: what is a node's own in host_networks is to be filled in."""
    text = config.text
    networks = config.document.data.get("host_networks") or {}
    for name, network in networks.items():
        address = str((network or {}).get("address") or "")
        if address:
            text = re.sub(rf"(?<![\w.:/]){re.escape(address)}(?![\w./:])", f"{FILL_IN}{name}", text)
    return text
