# SPDX-License-Identifier: LGPL-3.0-or-later
"""Marshmallow fields shared by pvc.yaml, plugins' own sections and the API: text at the edge, typed values inside.

Each carries metadata["allowed"], the phrase that an operator reads when a value is refused.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Any

from marshmallow import ValidationError, fields, validate

from pvc_core.errors import Invalid
from pvc_core.ids import checked_name
from pvc_core.units import parse_size_bytes

_DEVICE = re.compile(r"[^\s/:]{1,15}")


class _Text(fields.String):
    """A string with a phrase for what is allowed; subclasses turn it into a value."""

    allowed = "text"

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("metadata", {}).setdefault("allowed", self.allowed)
        super().__init__(**kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        try:
            return self.parse(str(super()._deserialize(value, attr, data, **kwargs)))
        except ValueError:
            raise self.make_error("invalid") from None

    def parse(self, text: str) -> Any:
        """The value; raises ValueError if `text` is none."""
        return text


class Name(_Text):
    """The name of an object of ours: str."""

    allowed = "a name of letters, digits, '.', '-' and '_' that begins and ends with a letter or digit"

    def parse(self, text: str) -> str:
        try:
            return checked_name(text, "object")
        except Invalid as error:
            raise ValueError(str(error)) from None


class Device(_Text):
    """A network device of the host, as the kernel names it (at most 15 characters, IFNAMSIZ - 1): str."""

    allowed = 'the name of a network device, like "eth0" or "bond0.10" (at most 15 characters)'

    def parse(self, text: str) -> str:
        if not _DEVICE.fullmatch(text) or text in (".", ".."):
            raise ValueError(text)
        return text


class Cidr(_Text):
    """A host's address with its prefix: ipaddress.IPv4Interface or IPv6Interface."""

    allowed = "a host's address with its prefix, like 10.0.0.11/24"

    def parse(self, text: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
        if "/" not in text:
            raise ValueError(text)
        address = ipaddress.ip_interface(text)
        if address.network.num_addresses > 2 and address.ip == address.network.network_address:
            raise ValueError(text)
        if address.version == 4 and address.network.prefixlen < 31 and address.ip == address.network.broadcast_address:
            raise ValueError(text)
        return address


class Address(_Text):
    """An IP address without prefix: ipaddress.IPv4Address or IPv6Address."""

    allowed = "an IP address, like 10.0.0.1"

    def parse(self, text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        return ipaddress.ip_address(text)


class AbsolutePath(_Text):
    """A place in the file system: pathlib.Path."""

    allowed = "an absolute path, like /var/lib/pvc"

    def parse(self, text: str) -> Path:
        path = Path(text)
        if not path.is_absolute() or ".." in path.parts or "\0" in text:
            raise ValueError(text)
        return path


class _PathText(_Text):
    allowed = AbsolutePath.allowed

    def parse(self, text: str) -> str:
        return str(AbsolutePath().parse(text))


def below_run(name: str, description: str) -> _PathText:
    """A plugin's place below `paths.run`, as text: NAME there where pvc.yaml names no other; the loader puts it in."""
    metadata = {"below_run": name, "description": f"{description}; below paths.run unless it is given"}
    return _PathText(load_default=f"/run/pvc/{name}", metadata=metadata)


class Size(fields.Field):
    """A size: bytes as int, from "10G", "512M" or a whole number of bytes."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("metadata", {}).setdefault("allowed", "a size, like 512M, 10G or 2T")
        super().__init__(**kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValidationError("Not a valid size.")
        try:
            return parse_size_bytes(str(value))
        except Invalid as error:
            raise ValidationError(str(error)) from None


def whole(low: int, high: int, what: str = "", **kwargs: Any) -> fields.Integer:
    """A whole number between `low` and `high`, both included; `what` says of what ("bytes").

    "9" in quotes is refused.
    """
    phrase = f"a whole number {'of ' + what + ' ' if what else ''}between {low} and {high}"
    return fields.Integer(strict=True, validate=validate.Range(low, high), metadata={"allowed": phrase}, **kwargs)


def port(**kwargs: Any) -> fields.Integer:
    """A TCP port."""
    return whole(1, 65535, **kwargs)


def seconds(low: float, high: float, **kwargs: Any) -> fields.Float:
    """A duration in seconds between `low` and `high`, both included."""
    phrase = f"a number of seconds between {low:g} and {high:g}"
    return fields.Float(validate=validate.Range(low, high), metadata={"allowed": phrase}, **kwargs)
