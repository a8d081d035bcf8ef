"""Bytes under keys, with versions and sessions. Meaning is added by pvc_core.cluster; see base.py for the contract."""
