"""The secrets of this node, as daemons read them; made and kept by founding/secrets.py."""

from pvc_core.founding.secrets import GROUP, STORE_API, STORE_NODE, ensure_secrets, group_id, read_secret

__all__ = ["GROUP", "STORE_API", "STORE_NODE", "ensure_secrets", "group_id", "read_secret"]
