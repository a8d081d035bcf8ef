"""Reading and writing a definition, and where new devices go."""

from __future__ import annotations

from lxml import etree

from pvc_cli.errors import CliError

Element = etree._Element


def parse(text: str) -> Element:
    """The <domain> element. Entities and the network are off: a definition is data. Raises CliError if it is no XML."""
    parser = etree.XMLParser(encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(text.encode(), parser)
    except etree.XMLSyntaxError as error:
        raise CliError(f"The VM's definition is no XML: {error.msg}") from error
    if root.tag != "domain":
        raise CliError(f"The VM's definition is a <{root.tag!s}>, not a <domain>.")
    return root


def text_of(element: Element) -> str:
    """A device alone."""
    return etree.tostring(element, encoding="unicode", with_tail=False)


def whole_text_of(root: Element) -> str:
    """The definition, with comments before and after <domain>."""
    return etree.tostring(root.getroottree(), encoding="unicode")


def required(root: Element, path: str) -> Element:
    found = root.find(path)
    if found is None:
        raise CliError(f"The VM's definition has no <{path.replace('/', '> in <')}>.", help="pvc vm modify can add it")
    return found


def add_device(root: Element, device: Element) -> None:
    """Put `device` after the last one of its kind, else before <emulator>, which every definition has."""
    devices = required(root, "devices")
    same = devices.findall(str(device.tag))
    emulator = devices.find("emulator")
    if same:
        at = devices.index(same[-1]) + 1
        device.tail = same[-1].tail
    else:
        at = devices.index(emulator) if emulator is not None else len(devices)
        device.tail = devices.text if len(devices) else "\n  "
    etree.indent(device, space="  ", level=2)
    devices.insert(at, device)


def remove_device(device: Element) -> None:
    """Take `device` out with its line; the white space before what follows it stays as it was."""
    parent = device.getparent()
    if parent is None:
        raise ValueError("a device that is in no definition cannot be removed")
    before = device.getprevious()
    if device.getnext() is None:
        # The last one: what closes the parent now follows its predecessor.
        if before is not None:
            before.tail = device.tail
        else:
            parent.text = device.tail
    parent.remove(device)
