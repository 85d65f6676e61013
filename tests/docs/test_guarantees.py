"""The table of guarantees names tests that exist, for every case, with a mutation for each."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

from tests.support.mutations import MUTATIONS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "guarantees.md"
CASES = {*range(1, 139)}


def pages() -> tuple[str, str]:
    """Returns the tables about RPyC's protocol, and the one about the others."""
    first, _, second = PAGE.read_text().partition("## Emacs and Erlang")
    return first, second


def rows() -> dict[int, list[str]]:
    """Returns the tests named for each case."""
    found = re.findall(r"^\| (\d+) \|.*\| (`.*`) \|$", pages()[0], re.M)
    return {int(case): re.findall(r"`([^`]+)`", tests) for case, tests in found}


def others() -> dict[int, tuple[str, str]]:
    """Returns the cells of each case where the peer is Emacs, and where it is Erlang."""
    found = re.findall(r"^\| (\d+) \| (.*) \| (.*) \| (?:both|one) \|$", pages()[1], re.M)
    return {int(case): (epc, erlang) for case, epc, erlang in found}


def test_every_case_has_its_row() -> None:
    """Nothing of the list is left out."""
    assert set(rows()) == CASES
    assert set(others()) == CASES


@pytest.mark.parametrize("page", [0, 1])
def test_the_cases_are_in_order(page: int) -> None:
    """Each case stands once in each set of tables, after those with lower numbers."""
    found = [int(case) for case in re.findall(r"^\| (\d+) \|", pages()[page], re.M)]
    assert found == sorted(set(found))


def test_the_tests_exist() -> None:
    """Each test that is named is a function of the file that is named."""
    for case, tests in rows().items():
        assert tests, case
        for test in tests:
            assert is_test(test), test


def test_every_cell_is_a_test_or_says_why_not() -> None:
    for case, cells in others().items():
        for cell in cells:
            tests = [name for name in re.findall(r"`([^`]+)`", cell) if ".py" in name]
            assert tests or re.match(r"n/a: \S+ \S+", cell), (case, cell)
            for test in tests:
                assert is_test(test), test


@functools.cache
def functions(path: str) -> set[str]:
    """Returns the names of a file's functions and of its classes' methods."""
    tree = ast.parse((ROOT / "tests" / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def is_test(test: str) -> bool:
    """Returns whether ``path`` or ``path::function`` is there."""
    path, _, name = test.partition("::")
    return not name or name in functions(path)


def test_every_case_has_a_mutation() -> None:
    """For each case there is a fix that can be taken away, and its text is still there."""
    assert {int(mutation.case) for mutation in MUTATIONS} == CASES
    for mutation in MUTATIONS:
        source = (ROOT / "rpyc_like" / mutation.file).read_text()
        assert mutation.old in source, (mutation.case, mutation.file)
        if mutation.file.endswith(".py"):  # what cannot be compiled shows nothing
            compile(source.replace(mutation.old, mutation.new), mutation.file, "exec")
