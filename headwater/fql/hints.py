"""What a careful reader would ask about a filter that is legal and yet most likely a slip of the pen. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from headwater.fql.error import nearest
from headwater.fql.nodes import Call, Compare, ListOf, Node, Path, children, paths

FIELDS = (
    "anonymousId", "category", "channel", "context", "event", "groupId", "integrations", "messageId", "name",
    "originalTimestamp", "previousId", "properties", "receivedAt", "sentAt", "sourceId", "timestamp", "traits", "type",
    "userId",
)  # fmt: skip


def hints(tree: Node) -> tuple[str, ...]:
    """Fields that no event has: legal (they are null), but a misspelt name, or a text without its quotes."""
    found: dict[str, str] = {}
    for word, instead in _bare_words(tree):
        found.setdefault(
            word, f"no event has a field `{word}`, so it is always null; a text stands in quotes: `{instead}`"
        )
    for path in paths(tree):
        root = str(path.parts[0])
        known = nearest(root, FIELDS)
        if path.parts[0] not in FIELDS and known:
            found[root] = f"no event has a field `{root}`, so it is always null; did you mean `{known}`?"
    return tuple(found.values())


def _bare_words(node: Node) -> Iterator[tuple[str, str]]:
    """Unknown names where a text is to be expected (`type = track`), and how the condition is written with quotes."""
    match node:
        case Compare(operator, left, ListOf(items)):
            for item in items:
                if word := _unknown(item):
                    yield word, f'{_shown(left)} {operator} ["{word}"]'
        case Compare(operator, left, right) if isinstance(left, Path | Call) and (word := _unknown(right)):
            yield word, f'{_shown(left)} {operator} "{word}"'
        case Call(function, (first, *others)):
            for other in others:
                if word := _unknown(other):
                    yield word, f'{function}({_shown(first)}, "{word}")'
    for child in children(node):
        yield from _bare_words(child)


def _unknown(node: Node) -> str:
    """The name where the node is a single one that no event has; else empty."""
    if isinstance(node, Path) and len(node.parts) == 1 and node.parts[0] not in FIELDS:
        return str(node.parts[0])
    return ""


def _shown(node: Node) -> str:
    """A path as it is mostly written; dots for everything else."""
    return ".".join(map(str, node.parts)) if isinstance(node, Path) else "..."
