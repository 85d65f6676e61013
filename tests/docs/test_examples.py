"""The Python examples of README and docs run, each page as one program."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = {
    str(page.relative_to(ROOT)): re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
    for page in PAGES
    if "_build" not in page.parts
}


@pytest.mark.parametrize("page", [page for page, blocks in EXAMPLES.items() if blocks])
def test_examples(page: str) -> None:
    """All examples of a page run in order, without an error or a warning."""
    code = "\n".join(EXAMPLES[page])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if page == "README.md":
        assert done.stdout.startswith("hello, world\n")


def test_there_are_examples() -> None:
    """The pages that should have examples have them."""
    with_examples = {page for page, blocks in EXAMPLES.items() if blocks}
    assert {"README.md", "docs/tutorial/first-steps.md"} <= with_examples
