"""The table of guarantees names tests that exist, for every case, with a mutation for each."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.support.mutations import MUTATIONS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "guarantees.md"
CASES = {*range(1, 86)} - {72}


def rows() -> dict[int, list[str]]:
    """Returns the tests named for each case."""
    found = re.findall(r"^\| (\d+) \|.*\| (`.*`) \|$", PAGE.read_text(), re.M)
    return {int(case): re.findall(r"`([^`]+)`", tests) for case, tests in found}


def test_every_case_has_its_row() -> None:
    """Nothing of the list is left out."""
    assert set(rows()) == CASES


def test_the_tests_exist() -> None:
    """Each test that is named is a function of the file that is named."""
    for case, tests in rows().items():
        assert tests, case
        for test in tests:
            path, _, name = test.partition("::")
            tree = ast.parse((ROOT / "tests" / path).read_text())
            names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            assert not name or name in names, test


def test_every_case_has_a_mutation() -> None:
    """For each case there is a fix that can be taken away, and its text is still there."""
    assert {int(mutation.case) for mutation in MUTATIONS} == CASES
    for mutation in MUTATIONS:
        source = (ROOT / "rpyc_like" / mutation.file).read_text()
        assert mutation.old in source, (mutation.case, mutation.file)
