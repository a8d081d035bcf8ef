"""What needs an admin in a definition: all that is not known to stay inside pools and networks."""

from __future__ import annotations

import pytest

from pvc_compute_libvirt.describe import describe

ORDINARY = """<domain type="kvm"><name>web1</name><memory unit="MiB">512</memory><vcpu>1</vcpu>
<os><type arch="x86_64" machine="q35">hvm</type><boot dev="hd"/>{os}</os><features><acpi/></features>
<cpu mode="host-passthrough"/><clock offset="utc"/><on_poweroff>destroy</on_poweroff>{top}
<devices>{emulator}
<disk type="network" device="disk"><driver name="qemu" discard="unmap"/>
<auth username="libvirt"><secret type="ceph" uuid="x"/></auth>
<source protocol="rbd" name="vms/web1"><host name="hv1" port="6789"/></source><target dev="sda" bus="scsi"/></disk>
<disk type="file" device="cdrom"><target dev="sdb" bus="sata"/></disk>
<interface type="bridge"><mac address="52:54:00:00:00:01"/><source bridge="vmbr100"/><model type="virtio"/></interface>
<controller type="scsi" model="virtio-scsi"/><serial type="pty"><target port="0"/></serial>
<console type="pty"><target type="serial" port="0"/></console>
<channel type="unix"><target type="virtio" name="org.qemu.guest_agent.0"/></channel>
<graphics type="vnc" port="-1" listen="0.0.0.0"/><input type="tablet" bus="usb"/><video><model type="vga"/></video>
<rng model="virtio"><backend model="random">/dev/urandom</backend></rng><memballoon model="virtio"/>{devices}
</devices></domain>"""

QEMU = 'xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0"'
VDB = '<target dev="vdb"/>'
BACKING = '<backingStore type="file"><source file="/etc/shadow"/></backingStore>'


def reaches(top: str = "", devices: str = "", os: str = "", emulator: str = "") -> tuple[str, ...]:
    return describe(ORDINARY.format(top=top, devices=devices, os=os, emulator=emulator)).reaches


def test_an_ordinary_vm_reaches_nothing() -> None:
    assert reaches() == ()
    assert reaches(emulator="<emulator>/usr/bin/qemu-system-x86_64</emulator>") == ()
    assert reaches(os='<loader readonly="yes" type="pflash">/usr/share/OVMF/OVMF_CODE.fd</loader><nvram/>') == ()
    assert reaches(top="<cputune><shares>512</shares></cputune>") == ()


@pytest.mark.parametrize(
    ("top", "words"),
    [
        ('<seclabel type="none"/>', "seclabel"),
        (f'<qemu:commandline {QEMU}><qemu:arg value="-x"/></qemu:commandline>', "commandline"),
        (f"<qemu:override {QEMU}/>", "override"),
        ("<resource><partition>/machine</partition></resource>", "partition"),
        ('<memoryBacking><source type="file"/></memoryBacking>', "type file"),
        ('<sysinfo type="fwcfg"><entry name="opt/x" file="/etc/shadow"/></sysinfo>', "/etc/shadow"),
        ("<something_new/>", "something_new"),
    ],
)  # fmt: skip
def test_above_the_devices(top: str, words: str) -> None:
    assert any(words in sentence for sentence in reaches(top=top))


@pytest.mark.parametrize(
    ("os", "words"),
    [
        ("<kernel>/boot/vmlinuz</kernel>", "os/kernel"),
        ("<initrd>/etc/shadow</initrd>", "os/initrd"),
        ("<loader>/root/rom</loader>", "/root/rom"),
        ("<loader>/usr/share/OVMF/../../../etc/shadow</loader>", "shadow"),
        ("<nvram>/etc/shadow</nvram>", "/etc/shadow"),
        ('<nvram template="/etc/shadow"/>', "/etc/shadow"),
        ("<acpi><table type='slic'>/etc/shadow</table></acpi>", "os/acpi"),
        ('<loader readonly="no" type="pflash">/usr/share/OVMF/OVMF_CODE.fd</loader>', "writable"),
    ],
)
def test_what_it_boots(os: str, words: str) -> None:
    assert any(words in sentence for sentence in reaches(os=os))


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ('<disk type="file"><source file="/etc/shadow"/><target dev="vdb"/></disk>', "/etc/shadow"),
        ('<disk type="block"><source dev="/dev/sda"/><target dev="vdb"/></disk>', "/dev/sda"),
        (f'<disk type="network"><source protocol="nbd" name="x"><host name="10.0.0.1"/></source>{VDB}</disk>', "nbd"),
        (f'<disk type="network"><source protocol="rbd" name="vms/b"/>{BACKING}{VDB}</disk>', "backingStore"),
        ('<interface type="bridge"><source bridge="br0"/></interface>', "br0"),
        ('<interface type="bridge"><source bridge="brstorage"/></interface>', "brstorage"),
        ('<interface type="direct"><source dev="eth0"/></interface>', "eth0"),
        ('<interface type="bridge"><source bridge="vmbr1"/><script path="/tmp/x"/></interface>', "/tmp/x"),
        ('<interface type="hostdev"><source><address type="pci" bus="1"/></source></interface>', "hostdev"),
        ('<hostdev mode="subsystem" type="pci"><source/></hostdev>', "hostdev"),
        ('<filesystem type="mount"><source dir="/"/><target dir="x"/></filesystem>', "filesystem"),
        ('<serial type="file"><source path="/etc/cron.d/x"/></serial>', "/etc/cron.d/x"),
        ('<serial type="tcp"><source mode="connect" host="10.0.0.1" service="2181"/></serial>', "tcp"),
        ('<serial type="pty"><log file="/etc/cron.d/x"/></serial>', "log file"),
        ('<channel type="unix"><source mode="connect" path="/run/pvc/node.sock"/></channel>', "node.sock"),
        ('<graphics type="vnc" socket="/tmp/x"/>', "/tmp/x"),
        ('<graphics type="spice"><gl rendernode="/dev/dri/renderD128"/></graphics>', "GPU"),
        ('<graphics type="egl-headless"/>', "egl-headless"),
        ('<rng model="virtio"><backend model="egd" type="udp"><source host="10.0.0.1"/></backend></rng>', "egd"),
        ('<rng model="virtio"><backend model="random">/etc/shadow</backend></rng>', "/etc/shadow"),
        ('<tpm model="tpm-tis"><backend type="passthrough"><device path="/dev/tpm0"/></backend></tpm>', "passthrough"),
        ('<shmem name="x"><server path="/tmp/x"/></shmem>', "shmem"),
        ('<memory model="nvdimm"><source><path>/etc/shadow</path></source></memory>', "/etc/shadow"),
        ('<input type="passthrough"><source evdev="/dev/input/event1"/></input>', "event1"),
        ('<audio id="1" type="file" path="/tmp/x"/>', "file"),
        ('<vsock><cid auto="yes"/></vsock>', "vsock"),
        ('<redirdev type="tcp"><source host="10.0.0.1"/></redirdev>', "redirdev"),
        ('<emulator>/tmp/mine</emulator>', "/tmp/mine"),
        ('<interface type="bridge"><source bridge="vmbr1"/><rom bar="on" file="/etc/shadow"/></interface>', "shadow"),
        ('<video><driver name="vhostuser"/><model type="virtio"/></video>', "vhostuser"),
        ('<video><model type="virtio"><acceleration rendernode="/dev/dri/renderD128"/></model></video>', "dri"),
        (f'<disk type="network" device="lun" rawio="yes"><source protocol="rbd" name="vms/b"/>{VDB}</disk>', "rawio"),
    ],
)  # fmt: skip
def test_devices(device: str, words: str) -> None:
    assert any(words in sentence for sentence in reaches(devices=device)), reaches(devices=device)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        *(
            (text.format("/srv/share"), text.format("/"))
            for text in (
                '<filesystem type="mount"><source dir="{}"/><target dir="x"/></filesystem>',
                '<serial type="pty"><log file="{}"/></serial>',
                '<shmem name="x"><server path="{}"/></shmem>',
                '<graphics type="spice"><gl rendernode="{}"/></graphics>',
                '<tpm model="tpm-tis"><backend type="passthrough"><device path="{}"/></backend></tpm>',
                '<rng><backend model="egd" type="unix"><source mode="connect" path="{}"/></backend></rng>',
                '<disk type="network"><source protocol="rbd" name="vms/b"/><backingStore type="file">'
                '<source file="{}"/></backingStore><target dev="vdb"/></disk>',
                '<disk type="network"><source protocol="rbd" name="vms/b"><config file="{}"/></source>'
                '<target dev="vdb"/></disk>',
            )
        ),
        *(
            (text.format(1), text.format(2))
            for text in (
                '<hostdev type="pci"><source><address bus="{}"/></source></hostdev>',
                '<interface type="hostdev"><source><address type="pci" bus="{}"/></source></interface>',
                '<disk type="network"><source protocol="nbd" name="x"><host name="10.0.0.{}"/></source>'
                '<target dev="vdb"/></disk>',
            )
        ),
    ],
)  # fmt: skip
def test_what_an_admin_gave_is_no_leave_for_another_of_its_kind(before: str, after: str) -> None:
    """Who changes a definition is held to what stood there before: other words for every other thing."""
    assert set(reaches(devices=after)) - set(reaches(devices=before))
    assert reaches(devices=before) == reaches(devices=before.replace("><", ">\n  <"))


def test_other_arguments_for_qemu_are_another_reach() -> None:
    text = f'<qemu:commandline {QEMU}><qemu:arg value="{{}}"/></qemu:commandline>'
    assert set(reaches(top=text.format("-x"))) - set(reaches(top=text.format("-y")))
    assert set(reaches(top=text.format("a" * 5000 + "x"))) - set(reaches(top=text.format("a" * 5000 + "y")))
    assert all(len(words) < 400 for words in reaches(top=text.format("a" * 5000)))
    assert set(reaches(os="<kernel>/boot/a</kernel>")) - set(reaches(os="<kernel>/etc/shadow</kernel>"))
