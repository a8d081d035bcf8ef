"""Volumes as files: a pool is a directory, a volume a directory in it. See docs/storage-dir.md."""
