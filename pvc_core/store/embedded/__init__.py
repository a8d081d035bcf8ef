"""pvcstored, the embedded store: ZooKeeper's protocol over one SQLite file, for one node, on loopback.

protocol.py is the wire, tree.py the data with undo, rights.py who may do what, watches.py who is told, sessions.py who
is there, journal.py the disk, requests.py one request, server.py connections and group commit, main.py the process.
It offers what our ten primitives use and no more; docs/store.md lists what it leaves out.
"""
