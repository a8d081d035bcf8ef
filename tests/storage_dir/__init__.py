"""Tests of plugins/storage_dir and of the storage conformance suite."""
