"""The store in production: kazoo against ZooKeeper or pvcstored. The only importer of kazoo.

packets.py is the wire, order.py one request and its fate, link.py the connection, watching.py the standing orders,
store.py the ten primitives on top of them.
"""

from pvc_core.store.access import ANYONE, Credentials, Grant
from pvc_core.store.zookeeper.store import ZooKeeperStore
from pvc_core.store.zookeeper.tls import trust

__all__ = ["ANYONE", "Credentials", "Grant", "ZooKeeperStore", "trust"]
