"""What is wrong with a filter's text, shown under the text itself."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from headwater.errors import ConfigError, Problem

_SHOWN = 100  # characters of a long line on each side of the fault


class FqlError(ConfigError):
    """The text is no filter; `line` and `column` start at 1, `expected` says what may stand there."""

    def __init__(self, text: str, offset: int, found: str, expected: str = "", suggestion: str = "") -> None:
        before = text[:offset]
        self.text, self.offset, self.expected, self.suggestion = text, offset, expected, suggestion
        self.line = before.count("\n") + 1
        self.column = offset - (before.rfind("\n") + 1) + 1
        super().__init__([Problem(self._message(found))])

    def _message(self, found: str) -> str:
        line = f"line {self.line}, " if "\n" in self.text else ""
        message = f"filter, {line}column {self.column}: {found}"
        message += f"; expected {self.expected}" if self.expected else ""
        message += f"; did you mean `{self.suggestion}`?" if self.suggestion else ""
        return f"{message}\n{self._caret()}"

    def _caret(self) -> str:
        whole = self.text.split("\n")[self.line - 1].replace("\t", " ")
        at = self.column - 1
        start = max(0, at - _SHOWN)
        return f"  {whole[start : at + _SHOWN]}\n  {' ' * (at - start)}^"


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name closest to `name`, ignoring case; empty where none is close."""
    folded = {candidate.lower(): candidate for candidate in known}
    close = get_close_matches(name.lower()[:64], folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else ""
