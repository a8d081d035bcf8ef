"""The microkernel of PVC. docs/architecture.md says which room is for what."""

__version__ = "2.0.0a1"
