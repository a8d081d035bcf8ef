"""A whole PVC cluster on one Linux machine: real nodes in namespaces, for the demo, the tests and the curious.

`script/lab` is its door, docs/lab.md its manual. Nothing here ships to a real node; nothing in pvc_core knows of it.
"""


class LabError(Exception):
    """Something the user of the lab can mend. The message is a sentence: what was attempted, why it failed, what
    helps.
    """
