"""Tokens into a tree, by recursive descent: `or` binds loosest, then `and`, then `!`, then comparison.

`!a = b` is `!(a = b)`: where both sides are booleans, which is all `!` is defined for, the two readings agree.
Comparisons do not chain. Nesting is bounded, so that neither parsing nor evaluation can exhaust the stack.
"""

from __future__ import annotations

from headwater.fql import glob
from headwater.fql.error import FqlError, nearest
from headwater.fql.functions import FUNCTIONS
from headwater.fql.lexer import Token, operator_hint, tokens
from headwater.fql.nodes import And, Call, Compare, ListOf, Literal, Node, Not, Or, Path

MAX_DEPTH = 64
COMPARISONS = ("=", "!=", ">", ">=", "<", "<=", "in")
_VALUE = "a field, a value, a function, `!` or `(`"


def parse(text: str) -> Node:
    """The tree of a filter. Raises FqlError."""
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokens(text)
        self.at = 0
        self.depth = 0

    def whole(self) -> Node:
        tree = self.disjunction()
        if self.here.kind != "end":
            before = operator_hint(self.tokens[self.at - 1].text)  # `not a` reads as two fields
            hint = operator_hint(self.here.text) or (before if before == "!" else self.unquoted())
            raise self.unexpected("`and`, `or` or the end", hint)
        return tree

    def unquoted(self) -> str:
        """The text meant by several names in a row after a comparison, as in `event = Order Completed`."""
        first = last = self.at
        while first > 0 and self.tokens[first - 1].kind == "path":
            first -= 1
        while self.tokens[last].kind == "path":
            last += 1
        compares = first > 0 and self.tokens[first - 1].value in COMPARISONS
        words = [token.text for token in self.tokens[first:last]]
        return f'"{" ".join(words)}"' if compares and len(words) > 1 else ""

    @property
    def here(self) -> Token:
        return self.tokens[self.at]

    def take(self, *values: str) -> Token | None:
        token = self.here
        if token.kind in ("symbol", "word") and token.value in values:
            self.at += 1
            return token
        return None

    def need(self, value: str) -> None:
        if not self.take(value):
            raise self.unexpected(f"`{value}`")

    def unexpected(self, expected: str, suggestion: str = "") -> FqlError:
        token = self.here
        shown = token.text[:60].replace("\n", "\\n")  # a string may span lines; the message must not
        found = "the filter ends here" if token.kind == "end" else f"found `{shown}`"
        return FqlError(self.text, token.offset, found, expected, suggestion)

    def disjunction(self) -> Node:
        operands = [self.conjunction()]
        while self.take("or"):
            operands.append(self.conjunction())
        return operands[0] if len(operands) == 1 else Or(tuple(operands))

    def conjunction(self) -> Node:
        operands = [self.negation()]
        while self.take("and"):
            operands.append(self.negation())
        return operands[0] if len(operands) == 1 else And(tuple(operands))

    def negation(self) -> Node:
        count = 0
        while self.take("!"):
            count += 1
        operand = self.comparison()
        # `!!a` is not `a`: it is true or false even where `a` is no boolean, so one pair is kept
        for _ in range(count if count <= 2 else 2 - count % 2):
            operand = Not(operand)
        return operand

    def comparison(self) -> Node:
        left = self.operand()
        operator = self.take(*COMPARISONS)
        if not operator:
            return left
        right = self.operand()
        if self.here.value in COMPARISONS and self.here.kind in ("symbol", "word"):
            raise self.unexpected("`and`, `or` or the end: comparisons do not chain")
        return Compare(operator.value, left, right)

    def operand(self) -> Node:
        token = self.here
        if token.kind == "value":
            self.at += 1
            return Literal(token.value)
        if token.kind == "path":
            self.at += 1
            return Path(token.value)
        if token.kind == "name":
            return self.nested(self.call)
        if token.value == "(" and token.kind == "symbol":
            return self.nested(self.group)
        if token.value == "[" and token.kind == "symbol":
            return self.nested(self.listing)
        raise self.unexpected(_VALUE)

    def nested(self, rule: object) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise FqlError(self.text, self.here.offset, f"nested more than {MAX_DEPTH} levels deep")
        node: Node = rule()  # type: ignore[operator]
        self.depth -= 1
        return node

    def group(self) -> Node:
        self.need("(")
        inner = self.disjunction()
        self.need(")")
        return inner

    def listing(self) -> Node:
        self.need("[")
        items: list[Node] = []
        while not self.take("]"):
            if items:
                self.need(",")
            items.append(self.operand())
        return ListOf(tuple(items))

    def call(self) -> Node:
        token = self.here
        self.at += 1
        if token.value not in FUNCTIONS:
            suggestion = nearest(token.value, FUNCTIONS) or operator_hint(token.value)
            raise FqlError(
                self.text, token.offset, f"there is no function `{token.value}`", suggestion=suggestion
            )
        self.need("(")
        starts, arguments = self.arguments()
        function = FUNCTIONS[token.value]
        if len(arguments) != len(function.parameters):
            raise FqlError(self.text, token.offset, f"`{token.value}` was given {len(arguments)} arguments",
                           f"`{token.value}({', '.join(function.parameters)})`")  # fmt: skip
        self.check_pattern(token.value, starts, arguments)
        return Call(token.value, arguments)

    def arguments(self) -> tuple[list[Token], tuple[Node, ...]]:
        starts: list[Token] = []
        arguments: list[Node] = []
        while not self.take(")"):
            if arguments:
                self.need(",")
            starts.append(self.here)
            arguments.append(self.disjunction())
        return starts, tuple(arguments)

    def check_pattern(self, function: str, starts: list[Token], arguments: tuple[Node, ...]) -> None:
        if function != "match" or not isinstance(arguments[1], Literal):
            return
        pattern = arguments[1].value
        try:
            glob.compile(pattern) if isinstance(pattern, str) else None
        except glob.BadPattern as wrong:
            raise FqlError(self.text, starts[1].offset, f"the pattern cannot be read: {wrong}") from None
