"""`python -m pvc_cli`: the same as the command `pvc`."""

from pvc_cli.main import main

main()
