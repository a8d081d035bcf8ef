"""This host's own networks: bridges, addresses, routes, and the floating addresses of a primary. When to do what is
pvc_core/reconcile's; links.py is the only importer of pyroute2, and only when it is used.
"""
