"""Use cases: check, then write what is wanted or submit a task. The Python function library, and the API's only door.

Every call raises the errors of pvc_core.errors and nothing else; a call that raised has changed nothing.
"""

from pvc_core.services.all import Services, services_on

__all__ = ["Services", "services_on"]
