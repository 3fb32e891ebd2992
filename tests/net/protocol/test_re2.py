"""Expressions that Go takes search names as Go would; others are refused."""

import re
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsqlite.net.protocol.re2 import Re2Error, compile_re2

ALPHABET = "abzABZ019._-# "


@pytest.mark.parametrize(
    "pattern,found,missed",
    [
        ("", ["", "a"], []),
        (".*", ["", "a"], []),
        (".*pub", ["unpublic"], ["sub"]),
        ("^orders$", ["orders"], ["orders2", "reorders", "Orders", "orders\n"]),
        ("^a|b$", ["ax", "xb"], ["xax"]),
        ("a.b", ["a.b", "axb"], ["ab"]),
        (r"a\.b", ["a.b"], ["axb"]),
        ("(?i)ORDERS", ["orders", "OrDeRs"], ["order"]),
        ("a(?i)b", ["ab", "aB"], ["Ab"]),
        ("^(a(?i)b|c)d$", ["ad".replace("a", "aB"), "Cd", "cd"], ["CD", "ABd"]),
        ("^(?i:a)b$", ["Ab", "ab"], ["aB"]),
        ("^(?i)a(?-i)b$", ["Ab"], ["AB"]),
        ("^(?i)a(?-i:b)c$", ["AbC"], ["ABC"]),
        ("(?m)^a$", ["a"], ["ba"]),
        ("(?U)a+b", ["aab"], ["b"]),
        ("(?is-mU:A)", ["a"], ["b"]),
        (r"\Aa\z", ["a"], ["ab", "a\n"]),
        (r"^\pL+$", ["abZ"], ["a1"]),
        (r"^\p{Lu}\p{^Lu}\P{N}$", ["Aa_"], ["AA_", "Aa1"]),
        (r"^[\pN\p{Pd}]+$", ["1-9"], ["a"]),
        (r"^\p{Latin}$", ["a"], ["1"]),
        ("^[[:alpha:]_]+$", ["a_B"], ["a1"]),
        ("^[[:^digit:]]+$", ["a_"], ["1"]),
        ("^[^[:word:]]$", ["-"], ["_"]),
        ("^[]a]$", ["]", "a"], ["b"]),
        ("^[^]a]$", ["b"], ["]"]),
        ("^[a-c-]$", ["b", "-"], ["d"]),
        (r"^[\d\-x-z]$", ["1", "-", "y"], ["w"]),
        ("^[-[&&~~||a]$", ["[", "&", "~", "|", "-", "a"], ["b"]),
        (r"^\Qa.b*\E+$", ["a.b**"], ["axb"]),
        (r"\Qa.b", ["a.b"], ["axb"]),
        (r"^\x61\x{62}\143\_$", ["abc_"], ["abc"]),
        ("^a{2}b{1,}c{0,2}$", ["aab", "aabbcc"], ["ab", "aabccc"]),
        ("^a{,2}$", ["a{,2}"], ["aa"]),
        ("^a{x}$", ["a{x}"], ["ax"]),
        ("a}]", ["a}]"], ["a"]),
        ("^(?P<n>a)(?<m>b)(?:c)$", ["abc"], ["ab"]),
        ("^a+?b??$", ["aab"], ["b"]),
        (r"\bb", ["a b"], ["ab"]),
        (r"^\B$", [""], ["a"]),
        ("^*a", ["a", "ba"], ["b"]),
        ("()*a||", [""], []),
    ],
)
def test_expression_finds_what_go_finds(pattern: str, found: list[str], missed: list[str]) -> None:
    """The search is not anchored, and what Go writes differently means the same."""
    expression = compile_re2(pattern)

    assert [name for name in found if expression.search(name) is None] == []
    assert [name for name in missed if expression.search(name) is not None] == []


@pytest.mark.parametrize(
    "pattern",
    [
        "*",
        "a**",
        "a*+",
        "a++",
        "a?*?+",
        "a|*",
        "(*)",
        "{2}",
        "a{2}{3}",
        "a{2,1}",
        "a{1001}",
        "a{1,99999999}",
        "(",
        ")",
        "(a",
        "a)",
        "[",
        "[a",
        "[]",
        "[^]",
        "[b-a]",
        r"[a-\d]",
        "[[:nope:]]",
        "\\",
        r"\Z",
        r"\1",
        r"(a)\1",
        r"\8",
        r"\h",
        r"\é",
        r"[\b]",
        r"[\A]",
        r"\x",
        r"\xg0",
        r"\x{110000}",
        r"\pX",
        r"\p{Nope}",
        "(?=a)",
        "(?!a)",
        "(?<=a)",
        "(?<!a)",
        "(?>a)",
        "(?#a)",
        "(?x)a",
        "(?)",
        "(?i-)a",
        "(?P=n)",
        "(?P<n",
        "(" * 5000 + ")" * 5000,
    ],
    ids=lambda pattern: repr(pattern[:12]),
)
def test_expression_that_go_refuses_is_refused(pattern: str) -> None:
    """What Python alone would understand does not compile either."""
    with pytest.raises(Re2Error):
        compile_re2(pattern)


@given(st.text(alphabet="ab.*+?|()[]{}^$\\-,:<=!#&~01dwspPLQEzAiUmsx ", max_size=20) | st.text(max_size=10))
def test_any_text_compiles_or_is_refused(pattern: str) -> None:
    """Whatever an auth server sends, there is an expression without a warning, or a Re2Error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            expression = compile_re2(pattern)
        except Re2Error:
            return

    expression.search("")


@given(st.text(alphabet=ALPHABET), st.text(alphabet=ALPHABET))
def test_quoted_text_finds_itself(text: str, name: str) -> None:
    r"""What stands between \Q and \E is meant as it is."""
    assert (compile_re2(rf"\Q{text}\E").search(name) is not None) == (text in name)
    assert compile_re2(re.escape(text)).search(text) is not None
