"""A definition to begin with: what `pvc vm define --example` prints. It boots what its disk will have."""

from __future__ import annotations

import uuid

import click

DEFINITION = """<!-- Change the name, the memory and the number of vCPUs, then:
       pvc vm define THIS_FILE
       pvc storage volume add POOL web1_sda 10G       (pvc storage pool list shows the pools)
       pvc storage volume upload POOL web1_sda IMAGE  (a disk image to boot from; -f says its format)
       pvc vm volume add web1 POOL/web1_sda
       pvc vm network add web1 VNI                    (pvc network list shows the networks)
       pvc vm start web1 -->
<domain type="kvm">
  <name>web1</name>
  <uuid>{uuid}</uuid>
  <memory unit="MiB">1024</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch="x86_64" machine="q35">hvm</type>
    <boot dev="hd"/>
  </os>
  <features>
    <acpi/>
    <apic/>
  </features>
  <clock offset="utc"/>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type="scsi" index="0" model="virtio-scsi"/>
    <serial type="pty">
      <target port="0"/>
    </serial>
    <console type="pty">
      <target type="serial" port="0"/>
    </console>
    <graphics type="vnc" port="-1" autoport="yes"/>
    <video>
      <model type="vga"/>
    </video>
    <rng model="virtio">
      <backend model="random">/dev/urandom</backend>
    </rng>
  </devices>
</domain>
"""


def show(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    """With a UUID of its own, so that it can be defined again and again under other names."""
    if wanted and not ctx.resilient_parsing:
        click.echo(DEFINITION.format(uuid=uuid.uuid4()), nl=False)
        ctx.exit()
