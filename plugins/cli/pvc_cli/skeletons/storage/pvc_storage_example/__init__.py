"""storage_example: a storage driver for PVC."""
