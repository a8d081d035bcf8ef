"""Pure functions on a ClusterView: they see no store, no driver and no clock, and need no mock."""
