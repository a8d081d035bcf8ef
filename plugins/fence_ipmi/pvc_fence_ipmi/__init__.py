"""The power of a node, by IPMI 2.0 over LAN, through ipmitool. See docs/fencing.md."""
