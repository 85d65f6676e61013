"""RPyC's public names, as far as they are there."""

from __future__ import annotations

from tests.support.names import DATA, misfit, problems

NOT_YET = DATA.with_name("rpyc-6.0.2-not-there-yet.txt")


def test_names_and_signatures() -> None:
    """Every name of RPyC's is there with a signature that fits, but for those listed."""
    assert problems() == NOT_YET.read_text().splitlines()


def test_signatures_are_compared() -> None:
    """A missing, moved or newly required parameter is noticed; more optional ones are not."""
    a, b = ["a", "POSITIONAL_OR_KEYWORD", False], ["b", "POSITIONAL_OR_KEYWORD", True]
    c = ["c", "KEYWORD_ONLY", True]
    assert misfit([a, b], [a, b]) is None
    assert misfit([a, b], [a, b, c]) is None
    assert misfit([a, b], [a]) == "parameter 'b' is missing"
    assert misfit([a, b], [b, a]) == "parameter 'a' is not at position 0"
    assert misfit([a, b], [a, ["b", "POSITIONAL_OR_KEYWORD", False]]) is not None
    assert misfit([a], [a, ["d", "KEYWORD_ONLY", False]]) == "parameter 'd' has no default"
