"""How a cluster begins and grows: its certificate authority, its secrets, one-time tokens, joining, ZooKeeper's files.

pki.py makes certificates, secrets.py passwords, files.py writes them whole, token.py lets one new node in, welcome.py
answers it, joining.py is its side, ensemble.py renders ZooKeeper's configuration. Everything here is done once, by hand
or at a daemon's start; nothing decides about guests.
"""
