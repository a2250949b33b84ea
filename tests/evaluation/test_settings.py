"""Notes on tables that are replaced."""

import pytest

from gffusion.evaluation.settings import describe_replaced


@pytest.mark.parametrize("name", ["versions", "device", "compared", "sha256"])
def test_provenance_does_not_count_as_another_table(name: str) -> None:
    """A table that is made again on another machine replaces no other one."""
    former, new = ({name: value, "methods": {"ours": "f"}} for value in ({"x": "1"}, {"x": "2"}))
    assert describe_replaced(former, new) == ""
    assert "ours = f (now g)" in describe_replaced(former, new | {"methods": {"ours": "g"}})
