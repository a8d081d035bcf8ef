"""Bridged networks: each a VLAN of the trunk that the switches carry to every node."""
