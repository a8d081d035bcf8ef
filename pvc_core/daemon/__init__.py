"""The processes: pvcnoded and pvcapid. build.py wires everything once; logs.py and notify.py serve them all."""
