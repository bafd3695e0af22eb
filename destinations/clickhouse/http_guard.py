"""Which statements an analyst may run. Pure.

`readonly=1` of the embedded engine is not enough: tried on 26.9 it still lets a query write a file (`INTO OUTFILE`), read
one (`file('/etc/passwd')` as a scalar function, also handed to `arrayMap` or `APPLY`), connect out (`DESCRIBE url(...)`,
`ai*` functions), reach into this process (`python(...)`), stop other queries (`KILL`), and run several statements at once.

What is judged, and then executed, is the engine's own canonical text of exactly one statement (`formatQuery`), so that
comments, heredocs and odd quoting cannot make the judge and the engine read different things.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

VERBS = frozenset(("SELECT", "WITH", "(", "SHOW", "DESCRIBE", "EXISTS", "EXPLAIN"))
# table functions that only compute, or read the pipeline's own tables
TABLE_FUNCTIONS = frozenset(
    ("numbers", "numbers_mt", "values", "view", "generaterandom", "generateseries", "generate_series", "zeros",
     "zeros_mt", "null", "primes", "sqlstandardvalues")
)  # fmt: skip
# scalar functions that read files or call the network; their bare name is a function where another function wants one
FUNCTIONS = frozenset(("file", "showcertificate", "python"))
_FUNCTION_PREFIXES = ("ai",)
TABLES = frozenset(("stack_trace",))  # signals every thread of this process

_TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<comment>--|/\*)|(?P<string>'(?:[^'\\]|\\.|'')*')|(?P<name>[A-Za-z_][A-Za-z0-9_$]*)"""
    r"""|(?P<quoted>`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*")|(?P<number>\d[\w.]*)|(?P<symbol>.)""",
    re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)|``|\"\"", re.DOTALL)

Kind = Literal["name", "quoted", "string", "number", "symbol"]


class Refused(Exception):
    """The statement is not allowed; `code` is ClickHouse's number for it."""

    def __init__(self, message: str, code: int = 164, name: str = "READONLY") -> None:
        self.code = code
        super().__init__(f"Code: {code}. DB::Exception: {message} ({name})")


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the canonical text; `text` of a quoted name is without its quotes."""

    kind: Kind
    text: str

    @property
    def word(self) -> str:
        """The keyword or symbol in upper case; empty for strings and quoted names."""
        return self.text.upper() if self.kind in ("name", "symbol") else ""

    @property
    def identifier(self) -> str:
        """The name in lower case, quoted or not; empty for anything else."""
        return self.text.lower() if self.kind in ("name", "quoted") else ""


def tokens(text: str) -> list[Token]:
    """The tokens of canonical text, white space left out."""
    found = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "quoted":
            inner = _ESCAPED.sub(lambda escape: escape[1] or escape[0][0], match[0][1:-1])
            found.append(Token("quoted", inner))
        elif kind == "comment":
            found.append(Token("symbol", match[0]))
        elif kind in ("name", "string", "number", "symbol"):
            found.append(Token(kind, match[0]))  # type: ignore[arg-type]
    return found


def check(text: str, parameters: Mapping[str, str], denied_calls: frozenset[str]) -> list[Token]:
    """The tokens of an allowed statement. `denied_calls` are lower-case names of table functions. Raises Refused."""
    found = tokens(text)
    verb = found[0].word if found else ""
    if verb not in VERBS:
        raise Refused(
            f"Cannot execute {verb or 'this'} query in readonly mode: only SELECT, SHOW, DESCRIBE, EXISTS, EXPLAIN"
        )
    _check_settings(found)
    padded = [Token("symbol", ""), *found, Token("symbol", "")]
    for before, here, after in zip(padded, padded[1:], padded[2:], strict=False):
        _check_token(before, here, after, denied_calls)
    if any(token.identifier == "identifier" for token in found):
        _check_identifier_parameters(parameters, denied_calls)
    return found


def _check_settings(found: list[Token]) -> None:
    """The engine refuses changed settings at the top of a query only, not those of a subquery."""
    for clause, name, equals in zip(found, found[1:], found[2:], strict=False):
        if clause.word == "SETTINGS" and name.identifier and equals.word == "=":
            raise Refused(
                f"Cannot modify {name.text!r} setting in readonly mode; a driver sends settings in the address"
            )


def _check_token(before: Token, here: Token, after: Token, denied_calls: frozenset[str]) -> None:
    name = here.identifier
    if here.word in ("--", "/*"):  # canonical text has no comments: do not guess
        raise Refused("Comment in a formatted query")
    if here.word == "INTO" and after.word == "OUTFILE":
        raise Refused("INTO OUTFILE is not allowed: results are answered over HTTP only")
    if not name or before.word == ".":
        if name in TABLES:
            raise Refused(f"Table system.{name} is not allowed")
        return
    if name in TABLES or (name == "default" and after.word == "."):
        raise Refused(f"`{here.text}` is not allowed in a query")
    if name in FUNCTIONS and before.word != "AS":
        raise Refused(
            f"Function {here.text} is not allowed; a column of that name is written with its table: t.{here.text}"
        )
    if after.word == "(" and name in denied_calls:
        raise Refused(f"Function {here.text} is not allowed: it leaves the database")
    if name.startswith(_FUNCTION_PREFIXES) and here.text[2:3].isupper() and before.word != "AS":
        raise Refused(f"Function {here.text} is not allowed: it calls the network")


def _check_identifier_parameters(parameters: Mapping[str, str], denied_calls: frozenset[str]) -> None:
    """A parameter may stand for a name: hold its value to the same rules."""
    for value in parameters.values():
        for part in value.lower().replace("`", "").split("."):
            if (
                part in FUNCTIONS | TABLES | denied_calls
                or part == "default"
                or part.startswith(_FUNCTION_PREFIXES)
            ):
                raise Refused(f"Parameter value {value[:60]!r} is not allowed as an identifier")


def output_format(found: list[Token]) -> str | None:
    """The format that the statement itself names."""
    for index in range(len(found) - 2, -1, -1):
        here, name = found[index], found[index + 1]
        ends = index + 2 == len(found) or found[index + 2].word == "SETTINGS"
        before = found[index - 1].word if index else ""
        if (
            here.word == "FORMAT"
            and name.kind == "name"
            and ends
            and before not in ("AS", "FROM", "SELECT", ",")
        ):
            return name.text
    return None
