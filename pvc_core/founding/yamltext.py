"""One value of a YAML text changed, all else left as the person wrote it: comments, order, spaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import yaml

from pvc_core.errors import NotFound


def replaced(text: str, path: Sequence[str], value: str) -> str:
    """`text` with `value`, YAML in one line, where the value of the key `path` stood. Raises NotFound.

    `text` must be YAML of mappings down to there.
    """
    node = _find(yaml.compose(text, Loader=yaml.SafeLoader), path)
    first, end = node.start_mark.index, _end(text, node)
    lead = "" if text[:first].endswith((" ", "\t")) else " "
    if isinstance(node, yaml.SequenceNode) and not node.flow_style:
        lead = "  "  # its dashes may stand below the key's first letter, where another value would be another key
    return text[:first] + lead + value + text[end:] if first else value + text[end:]


def merged(text: str, path: Sequence[str], words: Mapping[str, str]) -> str:
    """`text` with `words` in the mapping at `path`: in their places if all are there, else with it in one line, anew.

    Raises NotFound when there is no such mapping.
    """
    node = _find(yaml.compose(text, Loader=yaml.SafeLoader), path)
    had = {key.value: text[value.start_mark.index : _end(text, value)] for key, value in _pairs(node)}
    if words.keys() <= had.keys():
        for key, word in words.items():
            text = replaced(text, [*path, key], word)
        return text
    return replaced(text, path, "{" + ", ".join(f"{key}: {word}" for key, word in {**had, **words}.items()) + "}")


def _pairs(node: yaml.Node | None) -> Sequence[tuple[yaml.Node, yaml.Node]]:
    return node.value if isinstance(node, yaml.MappingNode) else ()


def _find(root: yaml.Node | None, path: Sequence[str]) -> yaml.Node:
    node = root
    for key in path:
        node = next((value for name, value in _pairs(node) if name.value == key), None)
        if node is None:
            raise NotFound(f"there is no {'.'.join(path)} in it", help="write it by hand")
    assert node is not None
    return node


def _end(text: str, node: yaml.Node) -> int:
    """A block ends where the next key begins: what lies between (line ends, comments) stays."""
    end = node.end_mark.index
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:
        inside = text[node.start_mark.index : end]
        last = max(_end(text, child) for child in _children(node))
        return last if inside else end
    return end


def _children(node: yaml.CollectionNode) -> Sequence[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value)
