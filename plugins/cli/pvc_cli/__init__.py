"""The command line of PVC. It speaks HTTP with the API and knows nothing of the cluster's inside.

Nothing here imports pvc_core, libvirt, kazoo or a storage library: the command line installs alone, on any machine.
"""
