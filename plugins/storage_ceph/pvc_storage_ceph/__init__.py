"""Volumes as RBD images: a pool is a Ceph pool, a volume an image in it. See docs/storage-ceph.md."""
