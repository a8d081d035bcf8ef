"""The channel between processes of PVC: bytes and questions, never a command that changes the cluster.

frames.py is the framing on any connected socket, local.py the transport on a unix socket, network.py the one between
nodes (mutual TLS), wire.py the two headers, client.py asks, answering.py answers one question, server.py listens,
relay.py passes a question on. docs/peer.md describes the protocol.
"""

from pvc_core.peer.answering import Answer, Handler
from pvc_core.peer.client import Reply, ask
from pvc_core.peer.server import PeerServer
from pvc_core.peer.wire import InternalError, Unreachable

__all__ = ["Answer", "Handler", "InternalError", "PeerServer", "Reply", "Unreachable", "ask"]
