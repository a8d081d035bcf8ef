"""Tests of fencing: plugins/fence_ipmi, the fence conformance suite, what the core makes of them."""
