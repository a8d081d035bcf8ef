"""pvcnoded's part in the peer channel: what it answers on its own socket and to other nodes, and whom it asks where.

What the questions of bytes.py do is theirs; letting new nodes in is founding/welcome.py's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pvc_core import __version__
from pvc_core.clock import Clock
from pvc_core.cluster import layout
from pvc_core.cluster.repository import Repository
from pvc_core.config import Config
from pvc_core.errors import Exists, NotFound, Permanent, PvcError, Refused
from pvc_core.founding.pki import API_NAME, Place, names_of, serial_of
from pvc_core.founding.places import cluster_address, pki_of
from pvc_core.founding.secrets import GROUP, group_id
from pvc_core.founding.welcome import Welcome
from pvc_core.model.node import NodePeer, RemovedNode
from pvc_core.model.view import ClusterView
from pvc_core.peer import Answer, Handler, PeerServer, Reply, ask
from pvc_core.peer.network import Address, Identity, NetworkServer, node_identity
from pvc_core.peer.relay import QUESTION, relay
from pvc_core.store.base import SessionState, Store

QUESTIONS_AT_ONCE = 320
"""Each is a thread. All that one API may have open, logs it follows (plugins.api_falcon.streams) and consoles, and room
for who asks something short meanwhile.
"""


class Channel:
    """Both servers. Without an address on the cluster network, or without a certificate, the node asks and answers
    nobody but its own processes.
    """

    def __init__(
        self,
        config: Config,
        handlers: Mapping[str, Handler],
        *,
        view: Callable[[], ClusterView],
        store: Store,
        incarnation: str,
        clock: Clock,
        log: Any,
    ) -> None:
        """`handlers` are asked from here and from other nodes alike."""
        self._config, self._view, self._store, self._log = config, view, store, log
        self._incarnation, self._clock = incarnation, clock
        self._identity: Identity | None = None
        self._serial = ""
        asked_by_all = {**handlers, "hello": self._hello, "has_store": self._has_store}
        self._local = PeerServer(
            config.paths.run / "node.sock",
            {**asked_by_all, QUESTION: relay(self.address_of)},
            group=GROUP if group_id() is not None else None,
            max_connections=QUESTIONS_AT_ONCE,
            name="pvcnoded",
        )
        self._network = self._network_server(asked_by_all)

    def start(self) -> None:
        """Raises Refused when another daemon runs on this node. Other nodes not being able to ask stops no daemon."""
        self._local.start()
        if self._network is None:
            return
        try:
            self._network.start()
        except PvcError as error:
            self._log.error(f"other nodes cannot ask this one: {error}")
            self._network = None

    def stop(self) -> None:
        self._local.stop()
        if self._network is not None:
            self._network.stop()

    def announce(self) -> None:
        """Put on record where this node is asked. Raises StoreUnavailable, Conflict; Refused when it was removed."""
        host = cluster_address(self._config)
        if not self._serial or host is None:
            return
        name, repository = self._config.node, Repository(self._store)
        if repository.find(layout.REMOVED, self._serial) is not None:
            raise Refused(
                f"node {name} was removed from the cluster",
                help="`pvcnoded join` with a new token makes it a member again",
            )
        peer = NodePeer(name=name, address=str(host), port=self._config.peer_port, certificate=self._serial)
        kept = repository.find(layout.NODE_PEERS, name)
        if kept is not None and kept.value.certificate != peer.certificate:
            self._deny(kept.value.certificate)
        if kept is None or kept.value != peer:
            repository.save(layout.NODE_PEERS, name, peer, kept)

    def _deny(self, former: str) -> None:
        """What this node showed before it joined anew is on a disk that somebody may have."""
        denied = RemovedNode(
            name=self._config.node, certificate=former, at_s=self._clock.wall_s(), asked_by="replaced by a new one"
        )
        with contextlib.suppress(Exists):
            Repository(self._store).add(layout.REMOVED, former, denied)

    def ask(self, node: str, question: str, args: Mapping[str, Any], *, body: Any = None, deadline_s: float) -> Reply:
        """Ask another node. Raises what it answers, Unreachable, NotFound, Permanent (no certificate)."""
        return ask(self.address_of(node), question, args, body=body, deadline_s=deadline_s)

    def address_of(self, node: str) -> Address:
        """Where `node` answers: as it put on record, else by its name. Raises NotFound, Permanent."""
        if self._identity is None:
            raise Permanent(
                f"{self._config.node} cannot ask other nodes: it has no certificate, or no cluster network",
                help="`pvcnoded init` or `pvcnoded join` makes it; host_networks.cluster in pvc.yaml gives the address",
            )
        kept = self._view().node_peers.get(node)
        if kept is not None:
            return Address(node, kept.value.address, kept.value.port, self._identity)
        if node not in self._config.cluster.coordinators and node not in self._view().node_seen:
            raise NotFound(f"there is no node {node!r}", help="`pvc node list` shows those there are")
        return Address(node, node, self._config.peer_port, self._identity)

    def _network_server(self, handlers: Mapping[str, Handler]) -> NetworkServer | None:
        config, host, place = self._config, cluster_address(self._config), Place(pki_of(self._config))
        if host is None:
            return None
        try:
            self._identity = node_identity(place.ca_crt, place.node_crt, place.node_key)
            certificate = place.need(place.node_crt)
            self._check_name(certificate)
            self._serial = serial_of(certificate)
        except PvcError as error:
            self._identity = None
            self._log.warning(f"other nodes cannot ask this one, nor it them: {error}")
            return None
        welcome = Welcome(config, self._clock, self._known, self._log)
        return NetworkServer(
            host,
            config.peer_port,
            self._identity,
            handlers,
            for_strangers=welcome.handlers() if place.ca_key.exists() else {},
            objection=self._objection,
            max_connections=QUESTIONS_AT_ONCE,
        )

    def _check_name(self, certificate: str) -> None:
        name, _ = names_of(certificate)
        if name != self._config.node:
            raise Permanent(
                f"this node is called {self._config.node}, but its certificate is for {name}",
                help="a node keeps its name; one that is renamed joins anew with `pvcnoded join`",
            )

    def _objection(self, node: str, serial: str) -> str:
        if serial in self._view().removed_nodes:
            return f"node {node} was removed from the cluster"
        return f"{node} is no node: the API asks through its own" if node.startswith(API_NAME) else ""

    def _known(self) -> Mapping[str, str]:
        view, own = self._view(), cluster_address(self._config)
        known = {name: kept.value.address for name, kept in view.node_peers.items()}
        return {**dict.fromkeys(view.node_seen, ""), **known, self._config.node: str(own or "")}

    def _hello(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        return Answer({"node": self._config.node, "incarnation": self._incarnation, "version": __version__})

    def _has_store(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        """Whether this node's own session stands at this moment."""
        return Answer({"connected": self._store.session().state is SessionState.CONNECTED})
