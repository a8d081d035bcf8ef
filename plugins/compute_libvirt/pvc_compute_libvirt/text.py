"""Domain XML as text with places: reads it safely, tells where each element lies, and edits only those bytes.

One parser (expat, from the standard library) serves reading and editing, so both see the same document. What an element
means is describe.py's business; this file knows XML only. Source: XML 1.0 (W3C), well-formedness is expat's to judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from pvc_core.errors import Invalid

MAX_BYTES = 1_000_000
MAX_DEPTH = 64
MAX_ELEMENTS = 20_000

_START_TAG = re.compile(rb"<[^\s/>]+(?:[^>\"']|\"[^\"]*\"|'[^']*')*>")
_TAG_NAME = re.compile(rb"<[^\s/>]+")
_DECLARATION = re.compile(rb"(?:\xef\xbb\xbf)?<\?xml\s[^>]*\?>\s*")


class Element:
    """One element and its place: data[start:inner] is the start tag, data[close:end] the end tag (empty if `<x/>`)."""

    __slots__ = ("attrs", "children", "close", "end", "inner", "line", "parent", "start", "tag", "text")

    def __init__(
        self, tag: str, attrs: dict[str, str], start: int, inner: int, line: int, parent: Element | None
    ) -> None:
        self.tag, self.attrs, self.start, self.inner, self.line, self.parent = tag, attrs, start, inner, line, parent
        self.close = self.end = inner
        self.text = ""
        self.children: list[Element] = []

    def find(self, path: str) -> Element | None:
        """The first element at `path` ("devices/emulator") below this one."""
        return next(self.all(path), None)

    def all(self, path: str) -> Iterator[Element]:
        head, _, rest = path.partition("/")
        for child in self.children:
            if child.tag == head:
                if rest:
                    yield from child.all(rest)
                else:
                    yield child

    def get(self, name: str, default: str = "") -> str:
        return self.attrs.get(name, default)

    def words(self, path: str = "") -> str:
        """The text at `path`, without surrounding space; "" if there is none."""
        found = self.find(path) if path else self
        return found.text.strip() if found else ""


class Document:
    """A parsed text. `root` is its outermost element."""

    def __init__(self, data: bytes, root: Element) -> None:
        self.data, self.root = data, root

    def empty_tag(self, element: Element) -> bool:
        return element.inner == element.end and self.data[element.inner - 2 : element.inner] == b"/>"

    def raw_name(self, element: Element) -> bytes:
        """The tag as written, with its prefix."""
        match = _TAG_NAME.match(self.data, element.start)
        assert match  # expat saw an element begin here
        return match[0][1:]


def parse(text: str, *, root: tuple[str, ...]) -> Document:
    """The document in `text`, its outermost element one of `root`. Raises Invalid, quickly for a hostile text."""
    if len(text) > MAX_BYTES:
        raise Invalid(f"the definition has {len(text)} characters", help=f"at most {MAX_BYTES} are allowed")
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise Invalid("the definition holds characters that are no text", help="send it as UTF-8") from None
    document = _Reader(data).read()
    if document.root.tag not in root:
        wanted = " or ".join(f"<{tag}>" for tag in root)
        raise Invalid(f"the definition is a <{document.root.tag}>, not a {wanted}", help="give libvirt's domain XML")
    return document


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._root: Element | None = None
        self._open: list[Element] = []
        self._count = 0
        # The encoding is said here because the text has already been decoded, whatever its declaration claims.
        self._parser = expat.ParserCreate("utf-8", namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._doctype

    def read(self) -> Document:
        try:
            self._parser.Parse(self._data, True)
        except expat.ExpatError as error:
            raise Invalid(
                f"line {error.lineno}: the definition is not well-formed XML: {expat.ErrorString(error.code)}"
            ) from None
        assert self._root is not None  # expat refuses a document without an element
        return Document(self._data, self._root)

    def _doctype(self, *_: object) -> None:
        # Entities are the way to files, networks and billions of laughs; libvirt's XML needs none.
        raise Invalid("the definition has a DOCTYPE", help="remove it; entities and DTDs are not allowed")

    def _start(self, tag: str, attrs: dict[str, str]) -> None:
        self._count += 1
        line = self._parser.CurrentLineNumber
        if self._count > MAX_ELEMENTS:
            raise Invalid(f"line {line}: the definition has more than {MAX_ELEMENTS} elements")
        if len(self._open) >= MAX_DEPTH:
            raise Invalid(f"line {line}: elements are nested more than {MAX_DEPTH} deep")
        start = self._parser.CurrentByteIndex
        match = _START_TAG.match(self._data, start)
        assert match  # well-formed up to here, or expat had spoken
        parent = self._open[-1] if self._open else None
        element = Element(tag, attrs, start, match.end(), line, parent)
        if parent is None:
            self._root = element
        else:
            parent.children.append(element)
        self._open.append(element)

    def _end(self, _tag: str) -> None:
        element = self._open.pop()
        if self._data[element.inner - 2 : element.inner] == b"/>":
            return
        element.close = self._parser.CurrentByteIndex
        element.end = self._data.index(b">", element.close) + 1

    def _characters(self, text: str) -> None:
        if self._open:
            self._open[-1].text += text


class Edits:
    """Changes of one document, collected and applied at once: all bytes that no edit names stay as they were."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._changes: list[tuple[int, int, bytes]] = []

    def text(self) -> str:
        out, at = [], 0
        for start, end, new in sorted(self._changes, key=lambda change: change[:2]):
            assert start >= at, "two edits of one place"
            out += [self._document.data[at:start], new]
            at = end
        return b"".join([*out, self._document.data[at:]]).decode()

    def raw(self, element: Element) -> str:
        """The element as written."""
        return self._document.data[element.start : element.end].decode()

    def replace(self, element: Element, xml: str) -> None:
        self._changes.append((element.start, element.end, xml.encode()))

    def remove(self, element: Element) -> None:
        """Without the element and the space before it."""
        start = element.start
        while self._document.data[start - 1 : start].isspace():
            start -= 1
        self._changes.append((start, element.end, b""))

    def set_text(self, element: Element, value: str) -> None:
        self._content(element, escape(value).encode())

    def set_attr(self, element: Element, name: str, value: str) -> None:
        new = f"{name}={quoteattr(value)}".encode()
        span = self._attr(element, name)
        if span:
            self._changes.append((span[0], span[1], new))
            return
        at = element.start + 1 + len(self._document.raw_name(element))
        self._changes.append((at, at, b" " + new))

    def drop_attr(self, element: Element, name: str) -> None:
        span = self._attr(element, name)
        if span:
            self._changes.append((span[0] - 1, span[1], b""))

    def insert_first(self, element: Element, xml: str) -> None:
        """As the first child, on a line of its own if the first child has one. Once per element."""
        if self._document.empty_tag(element):
            self._content(element, xml.encode())
        else:
            margin = self._margin(element.children[0]) if element.children else b""
            self._changes.append((element.inner, element.inner, margin + xml.encode()))

    def insert_after(self, element: Element, xml: str) -> None:
        self._changes.append((element.end, element.end, self._margin(element) + xml.encode()))

    def insert_before(self, element: Element, xml: str) -> None:
        self._changes.append((element.start, element.start, xml.encode() + self._margin(element)))

    def strip_declaration(self) -> None:
        """Without `<?xml ... ?>`: what it says about the encoding is not true of the text any more."""
        match = _DECLARATION.match(self._document.data)
        if match:
            self._changes.append((0, match.end(), b""))

    def _content(self, element: Element, new: bytes) -> None:
        if self._document.empty_tag(element):
            end_tag = b"</" + self._document.raw_name(element) + b">"
            self._changes.append((element.inner - 2, element.inner, b">" + new + end_tag))
        else:
            self._changes.append((element.inner, element.close, new))

    def _margin(self, element: Element) -> bytes:
        """The white space in front of an element, from its line's end on."""
        start = element.start
        while self._document.data[start - 1 : start].isspace():
            start -= 1
        return self._document.data[start : element.start]

    def _attr(self, element: Element, name: str) -> tuple[int, int] | None:
        """Where `name="value"` stands in the start tag, quotes included."""
        pattern = re.compile(rb"\s(" + re.escape(name.encode()) + rb"\s*=\s*(?:\"[^\"]*\"|'[^']*'))")
        tag = self._document.data[element.start : element.inner]
        outside_quotes = 0
        while match := pattern.search(tag, outside_quotes):
            if not _inside_quotes(tag, match.start()):
                return element.start + match.start(1), element.start + match.end(1)
            outside_quotes = match.start() + 1
        return None


def _inside_quotes(tag: bytes, at: int) -> bool:
    """Whether position `at` of a start tag lies in an attribute's value."""
    quote = b""
    for index in range(at):
        char = tag[index : index + 1]
        if quote:
            quote = b"" if char == quote else quote
        elif char in (b'"', b"'"):
            quote = char
    return bool(quote)
