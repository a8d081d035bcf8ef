"""The microkernel of PVC. docs/architecture.md says which room is for what."""

__version__ = "2.0.0a1"

CONFIG_FILE = "/etc/pvc/pvc.yaml"
"""Where every daemon looks when neither --config nor PVC_CONFIG_FILE says otherwise."""
