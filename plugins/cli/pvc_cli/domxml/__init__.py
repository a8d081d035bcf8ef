"""Changes of a VM's definition, made in the client as PVC's API v1 expects: libvirt XML in, libvirt XML out.

Pure functions on lxml; asking the API and the user is commands/'. What the element means: libvirt's formatdomain.html;
which forms PVC knows: docs/cli.md. What a change does not touch stays, comments and
white space too; only quotes may turn from single to double.
"""
