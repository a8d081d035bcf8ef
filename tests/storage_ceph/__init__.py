"""Tests of the plugin storage_ceph, against a real Ceph."""
