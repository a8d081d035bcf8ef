"""How a cluster is founded and grows."""
