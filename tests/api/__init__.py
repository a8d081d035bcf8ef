"""The HTTP API, asked over real HTTP on loopback; the cluster behind it is a store in memory and one fake node."""
