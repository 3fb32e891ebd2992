r"""Regular expressions as Go writes them (RE2), for Python's `re`.

Auth servers send them, and NSQ searches topic and channel names with them. Names are ASCII
and have no line ends, so only that much is translated: Unicode classes come down to their
ASCII part, `(?m)` has nothing to do, and `(?U)` changes what is matched but never whether.
What only Python knows (lookaround, backreferences, possessive repeats) is refused as RE2 does.

Unlike RE2, `re` can take exponential time. Who sends the expressions decides about every
name anyway, so it is trusted with that too.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final

MAX_REPEAT: Final = 1000
_ASCII: Final = frozenset(map(chr, range(128)))
_CATEGORY: Final = re.compile("C[cfos]?|L[lmotu]?|M[cen]?|N[dlo]?|P[cdefios]?|S[ckmo]?|Z[lps]?")
_SPACES: Final = "\t\n\v\f\r "
_POSIX: Final[dict[str, Callable[[str], bool]]] = {
    "alnum": str.isalnum,
    "alpha": str.isalpha,
    "ascii": str.isascii,
    "blank": "\t ".__contains__,
    "cntrl": lambda each: not each.isprintable(),
    "digit": str.isdigit,
    "graph": lambda each: each.isprintable() and each != " ",
    "lower": str.islower,
    "print": str.isprintable,
    "punct": lambda each: each.isprintable() and each != " " and not each.isalnum(),
    "space": _SPACES.__contains__,
    "upper": str.isupper,
    "word": lambda each: each.isalnum() or each == "_",
    "xdigit": "0123456789abcdefABCDEF".__contains__,
}
_CONTROLS: Final = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_REPEAT: Final = re.compile(r"(?:[*+?]|\{(?P<low>[0-9]+)(?:,(?P<high>[0-9]*))?\})\??")
_FLAGS: Final = re.compile(r"\(\?(?P<on>[imsU]*)(?P<off>-[imsU]+)?(?P<end>[:)])")
_NAMED: Final = re.compile(r"\(\?P?<[A-Za-z0-9_]+>")
_CODE: Final = re.compile(
    r"x\{(?P<long>[0-9A-Fa-f]{1,6})\}|x(?P<short>[0-9A-Fa-f]{2})|(?P<octal>0[0-7]{0,2}|[1-7][0-7]{1,2})"
)
_PROPERTY: Final = re.compile(r"(?P<sign>[pP])(?:\{(?P<not>\^?)(?P<long>\w+)\}|(?P<short>[A-Z]))")
_POSIX_CLASS: Final = re.compile(r"\[:(?P<not>\^?)(?P<name>\w+):\]")


class Re2Error(ValueError):
    """An expression that RE2 does not take, or that cannot be translated."""


def compile_re2(pattern: str) -> re.Pattern[str]:
    """An expression to `search` ASCII names with.

    Raises:
        Re2Error: It does not compile.
    """
    try:
        return re.compile(_Translation(pattern).whole(), re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        raise Re2Error(f"{pattern!r} does not compile: {error}") from error


class _Translation:
    """One pass over an expression, left to right."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._may_repeat = False
        # For each open group, the flags that were set inside it: Go lets `(?i)` stand anywhere
        # and hold to the end of the group, Python wants a group around what it holds for.
        self._flags: list[list[str]] = [[]]

    def whole(self) -> str:
        translated = []
        while self._at < len(self._pattern):
            translated.append(self._next())
        if len(self._flags) != 1:
            raise Re2Error("a group has no end")
        return "".join(translated) + ")" * len(self._flags[0])

    def _next(self) -> str:
        char = self._pattern[self._at]
        if (repeat := _REPEAT.match(self._pattern, self._at)) is not None:
            return self._repeat(repeat)
        handler = _HANDLERS.get(char)
        if handler is not None:
            return handler(self)
        self._at += 1
        self._may_repeat = True
        return char if char == "." else re.escape(char)

    def _take(self, expression: re.Pattern[str]) -> re.Match[str] | None:
        found = expression.match(self._pattern, self._at)
        if found is not None:
            self._at = found.end()
        return found

    def _repeat(self, repeat: re.Match[str]) -> str:
        if not self._may_repeat:
            raise Re2Error("nothing to repeat")  # or repeated twice, which Python takes as possessive
        for bound in (repeat["low"], repeat["high"]):
            if bound and (len(bound) > 4 or int(bound) > MAX_REPEAT):
                raise Re2Error(f"more than {MAX_REPEAT} repeats")
        self._at = repeat.end()
        self._may_repeat = False
        return repeat[0]

    def _begin(self) -> str:
        self._at += 1
        self._may_repeat = True
        return r"(?:\A)"  # in a group, or Python would not let it be repeated

    def _end(self) -> str:
        self._at += 1
        self._may_repeat = True
        return r"(?:\Z)"  # `$` would also match before a last line end

    def _open(self) -> str:
        self._may_repeat = False
        if not self._pattern.startswith("(?", self._at):
            self._at += 1
            self._flags.append([])
            return "("
        if self._take(_NAMED):
            self._flags.append([])
            return "("
        found = self._take(_FLAGS)
        if found is None or (found["end"] == ")" and not found["on"] and not found["off"]):
            raise Re2Error("a group that RE2 does not know")
        on = "".join(sorted(set(found["on"]) & set("is")))
        off = "".join(sorted((set(found["off"] or "") & set("is")) - set(on)))
        group = f"(?{on}{'-' if off else ''}{off}:"
        if found["end"] == ":":
            self._flags.append([])
        else:
            self._flags[-1].append(group)
        return group

    def _close(self) -> str:
        if len(self._flags) == 1:
            raise Re2Error("an end without a group")
        self._at += 1
        self._may_repeat = True
        return ")" * len(self._flags.pop()) + ")"

    def _or(self) -> str:
        """Flags go on behind a `|`, which would end the groups they became."""
        self._at += 1
        self._may_repeat = False
        return ")" * len(self._flags[-1]) + "|" + "".join(self._flags[-1])

    def _escape(self) -> str:
        self._at += 1
        self._may_repeat = True
        letter = self._pattern[self._at : self._at + 1]
        if letter == "Q":
            return self._quoted()
        if letter and letter in "AbBz":
            self._at += 1
            return {"A": r"(?:\A)", "z": r"(?:\Z)", "b": r"(?:\b)", "B": r"(?!\b)"}[letter]
        return "[" + _members(self._escaped_set()) + "]"

    def _quoted(self) -> str:
        start = self._at + 1
        end = self._pattern.find("\\E", start)
        self._at = len(self._pattern) if end < 0 else end + 2
        text = self._pattern[start:] if end < 0 else self._pattern[start:end]
        self._may_repeat = bool(text)
        return re.escape(text)  # a repeat behind it goes for the last character, in both

    def _escaped_set(self) -> frozenset[str]:
        r"""What an escape stands for, inside a class or out; `_at` is behind its backslash."""
        if (found := self._take(_CODE)) is not None:
            code = int(found["octal"], 8) if found["octal"] else int(found["long"] or found["short"], 16)
            if code > 0x10FFFF:
                raise Re2Error("no such character")
            return frozenset(chr(code))
        if (found := self._take(_PROPERTY)) is not None:
            return _property(found["long"] or found["short"], is_not=(found["sign"] == "P") != bool(found["not"]))
        letter = self._pattern[self._at : self._at + 1]
        self._at += 1
        if letter in _CONTROLS:
            return frozenset(_CONTROLS[letter])
        if letter and letter in "dDsSwW":
            # RE2's \s has no vertical tab, Python's and POSIX's have
            kind = {"d": str.isdigit, "s": "\t\n\f\r ".__contains__, "w": _POSIX["word"]}[letter.lower()]
            return _only(kind, is_not=letter.isupper())
        if not letter or not letter.isascii() or letter.isalnum():
            raise Re2Error("an escape that RE2 does not know")
        return frozenset(letter)

    def _class(self) -> str:
        self._at += 1
        is_not = self._pattern.startswith("^", self._at)
        self._at += is_not
        members: set[str] = set()
        ranges: list[str] = []
        is_first = True
        while is_first or not self._pattern.startswith("]", self._at):
            is_first = False
            if (found := self._take(_POSIX_CLASS)) is not None:
                if found["name"] not in _POSIX:
                    raise Re2Error(f"no class {found['name']!r}")
                members |= _only(_POSIX[found["name"]], is_not=bool(found["not"]))
                continue
            low = self._class_member()
            if len(low) == 1 and self._is_range():
                self._at += 1
                ranges.append(_range(low, self._class_member()))
            else:
                members |= low
        self._at += 1
        self._may_repeat = True
        return "[" + ("^" if is_not else "") + _members(members, ranges) + "]"

    def _is_range(self) -> bool:
        return self._pattern.startswith("-", self._at) and not self._pattern.startswith("-]", self._at)

    def _class_member(self) -> frozenset[str]:
        if self._at >= len(self._pattern):
            raise Re2Error("a class has no end")
        char = self._pattern[self._at]
        self._at += 1
        return self._escaped_set() if char == "\\" else frozenset(char)


_HANDLERS: Final[dict[str, Callable[[_Translation], str]]] = {
    "^": _Translation._begin,
    "$": _Translation._end,
    "(": _Translation._open,
    ")": _Translation._close,
    "|": _Translation._or,
    "\\": _Translation._escape,
    "[": _Translation._class,
}


def _only(predicate: Callable[[str], bool], *, is_not: bool) -> frozenset[str]:
    return frozenset(each for each in _ASCII if predicate(each) != is_not)


def _property(name: str, *, is_not: bool) -> frozenset[str]:
    """A Unicode category, or one of the scripts that ASCII has a part in."""
    if name == "Any":
        return _only(str.isascii, is_not=is_not)
    if name in {"Latin", "Common"}:
        return _only(lambda each: each.isalpha() == (name == "Latin"), is_not=is_not)
    if _CATEGORY.fullmatch(name) is None:
        raise Re2Error(f"no property {name!r}")
    return _only(lambda each: unicodedata.category(each).startswith(name), is_not=is_not)


def _range(low: frozenset[str], high: frozenset[str]) -> str:
    if len(high) != 1 or min(low) > min(high):
        raise Re2Error("a range that goes backwards")
    return f"{re.escape(min(low))}-{re.escape(min(high))}"


def _members(members: set[str] | frozenset[str], ranges: list[str] | None = None) -> str:
    """The inside of a class; one that is empty takes what no name has."""
    return "".join(map(re.escape, sorted(members))) + "".join(ranges or ()) or "\U0010ffff"
