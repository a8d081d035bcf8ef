"""A YAML file as plain data that knows where each key stands. Refuses what would surprise, like duplicate keys.

Only plain YAML is taken: one document, mappings with text keys, lists, scalars. Aliases are left out because a handful
of lines with them describes gigabytes; pvc.yaml has no use for them.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pvc_core.config.faults import Fault, dotted, hidden_secrets, show

SIZE_MAX_BYTES = 256 * 1024
DEPTH_MAX = 20

_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ufffe\uffff]")

Path_ = Sequence[str | int]


@dataclass(slots=True)
class Document:
    """`data` is None when nothing could be read; `faults` says why, and what else is wrong with the text itself."""

    file: str
    text: str = ""
    data: Any = None
    faults: list[Fault] = field(default_factory=list)
    root: yaml.Node | None = None

    def fault(self, path: Path_, found: str, allowed: str, *, hide: bool = False) -> Fault:
        """A fault at the deepest place of `path` that exists; `hide` keeps the line's text out of it."""
        line, column = self.locate(path)
        source = self._key_only(line, column) if hide else self.source(line)
        return Fault(
            file=self.file, line=line, column=column, key=dotted(path), found=found, allowed=allowed, source=source
        )

    def _key_only(self, line: int, column: int) -> str:
        """The line as far as it holds nothing but indentation and the key."""
        key = re.match(r"\s*[\w.-]+\s*:", self.source(line))
        return f"{key[0]} ..." if key and column <= key.end() else ""

    def locate(self, path: Path_) -> tuple[int, int]:
        """(line, column) of the key, counted from 1; of its parent when it is not there."""
        node, mark = self.root, self.root.start_mark if self.root else None
        for part in path:
            found = _child(node, part)
            if found is None:
                break
            mark, node = found
        return (mark.line + 1, mark.column + 1) if mark else (0, 0)

    def source(self, line: int) -> str:
        lines = self.text.split("\n")
        return hidden_secrets(lines[line - 1]) if 0 < line <= len(lines) else ""


def read_document(path: Path) -> Document:
    """Read and parse; never raises for anything that may stand in or for a file."""
    document = Document(file=str(path))
    try:
        document.text = _text(_bytes(path))
    except _Unusable as error:
        document.faults.append(Fault(file=document.file, line=error.line, found=error.found, allowed=error.allowed))
        return document
    return parse(document)


def parse(document: Document) -> Document:
    """Fill in root, data and faults from `document.text`."""
    if fault := _structure_fault(document):
        document.faults.append(fault)
        return document
    try:
        document.root = yaml.compose(document.text, Loader=_Loader)
    except yaml.YAMLError as error:
        document.faults.append(_syntax_fault(document, error))
        return document
    if not isinstance(document.root, yaml.MappingNode):
        found = "found nothing" if document.root is None else f"found {show(_plain(document, document.root, ()))}"
        allowed = "a mapping is needed, with at least cluster, store and plugins (docs/pvc.yaml is an example)"
        document.faults = [Fault(file=document.file, line=1, column=1, found=found, allowed=allowed)]
        return document
    document.data = _plain(document, document.root, ())
    return document


class _Unusable(Exception):
    def __init__(self, found: str, allowed: str, line: int = 0) -> None:
        super().__init__(found)
        self.found, self.allowed, self.line = found, allowed, line


def _bytes(path: Path) -> bytes:
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            raise _Unusable("found something that is no regular file", "a text file is needed here")
        if info.st_size > SIZE_MAX_BYTES:
            raise _Unusable(f"found {info.st_size} bytes", f"a configuration has at most {SIZE_MAX_BYTES} bytes")
        with path.open("rb") as file:
            return file.read(SIZE_MAX_BYTES + 1)
    except FileNotFoundError:
        raise _Unusable(
            "no such file", "write one after the example docs/pvc.yaml, or name another with --config"
        ) from None
    except PermissionError:
        raise _Unusable("no permission to read it", "make it readable for this user, or run as root") from None
    except (OSError, ValueError) as error:
        raise _Unusable(
            f"it cannot be read: {getattr(error, 'strerror', None) or error}", "a text file is needed"
        ) from None


def _text(data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _Unusable(f"found byte 0x{data[error.start]:02x}", "the file must be text in UTF-8", line) from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if match := _CONTROL.search(text):
        line = text.count("\n", 0, match.start()) + 1
        raise _Unusable(f"found the control character 0x{ord(match[0]):02x}", "the file must be plain text", line)
    return text


def _structure_fault(document: Document) -> Fault | None:
    """What the event stream shows without building anything: syntax, depth, aliases, several documents."""
    depth = documents = 0
    try:
        for event in yaml.parse(document.text, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            documents += isinstance(event, yaml.DocumentStartEvent)
            if depth > DEPTH_MAX:
                return _at(
                    document, event.start_mark, "found very deep nesting", f"at most {DEPTH_MAX} levels are taken"
                )
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                return _at(
                    document,
                    event.start_mark,
                    "found an anchor or alias (& or *)",
                    "write the value out where it is needed",
                )
            if documents > 1:
                return _at(document, event.start_mark, "found a second document (---)", "pvc.yaml is one document")
    except yaml.YAMLError as error:
        return _syntax_fault(document, error)
    return None


def _syntax_fault(document: Document, error: yaml.YAMLError) -> Fault:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return Fault(
            file=document.file, line=1, column=1, found="found text that is no YAML", allowed=str(error).splitlines()[0]
        )
    lines = document.text.split("\n")
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line[: mark.column + 1] and not line[: mark.column].strip():
        return _at(document, mark, "found a tab in the indentation", "YAML takes spaces only")
    problem = getattr(error, "problem", None) or "text that is no YAML"
    context = getattr(error, "context", None)
    began = getattr(error, "context_mark", None)
    where = f" {context} that began on line {began.line + 1}" if context and began else ""
    return _at(document, mark, "found a syntax error", f"{problem}{where}")


def _at(document: Document, mark: Any, found: str, allowed: str) -> Fault:
    line = mark.line + 1
    return Fault(
        file=document.file,
        line=line,
        column=mark.column + 1,
        found=found,
        allowed=allowed,
        source=document.source(line),
    )


def _plain(document: Document, node: yaml.Node, path: tuple[str | int, ...]) -> Any:
    """Plain data; what cannot be is noted in document.faults and read as nothing."""
    if isinstance(node, yaml.MappingNode):
        return {key: _plain(document, value, (*path, key)) for key, value in _pairs(document, node, path)}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(document, value, (*path, index)) for index, value in enumerate(node.value)]
    try:
        return yaml.constructor.SafeConstructor().construct_object(node)
    except (yaml.YAMLError, ValueError, OverflowError):
        document.faults.append(
            document.fault(path, f"found {show(str(node.value))}", "this is no plain YAML value; put text in quotes")
        )
        return None


def _pairs(document: Document, node: yaml.MappingNode, path: tuple[str | int, ...]) -> Iterator[tuple[str, yaml.Node]]:
    first: dict[str, int] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            document.faults.append(
                _at(document, key.start_mark, "found a key that is a mapping or list", "a key is a word")
            )
        elif key.tag == "tag:yaml.org,2002:merge":
            document.faults.append(_at(document, key.start_mark, "found a merge key (<<)", "write the keys out"))
        elif key.value in first:
            again = _at(
                document, key.start_mark, "this key is given twice", f"it stands on line {first[key.value]} already"
            )
            document.faults.append(_with_key(again, dotted((*path, key.value))))
        else:
            first[key.value] = key.start_mark.line + 1
            yield key.value, value


def _with_key(fault: Fault, key: str) -> Fault:
    return Fault(
        file=fault.file,
        line=fault.line,
        column=fault.column,
        key=key,
        found=fault.found,
        allowed=fault.allowed,
        source=fault.source,
    )


def _child(node: yaml.Node | None, part: str | int) -> tuple[Any, yaml.Node] | None:
    """(mark, node) of one step down."""
    if isinstance(node, yaml.MappingNode):
        return next(((key.start_mark, value) for key, value in node.value if key.value == str(part)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark, node.value[part]
    return None
