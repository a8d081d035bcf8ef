"""Managed networks: VXLAN between all nodes, with EVPN (FRR) telling each where every guest is."""
