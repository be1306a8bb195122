"""The tree of errors: each says what, where and what to do, and has its exit code."""

import pytest

from chargera.domain import errors
from chargera.domain.errors import ChargEraError, exit_code

TREE = {
    errors.ChargEraError: ("error", 1),
    errors.InvalidInput: ("invalid_input", 1),
    errors.Unreadable: ("unreadable", 2),
    errors.Unsupported: ("unsupported", 1),
    errors.Refused: ("refused", 1),
    errors.NotPermitted: ("not_permitted", 1),
    errors.Conflict: ("conflict", 1),
    errors.NotFound: ("not_found", 1),
    errors.Undetermined: ("undetermined", 3),
    errors.Unavailable: ("unavailable", 3),
}


@pytest.mark.parametrize(("kind", "expected"), TREE.items())
def test_error__code_and_exit(kind: type[ChargEraError], expected: tuple[str, int]) -> None:
    error = kind("it is wrong", field="name", remedy="correct it")
    assert (error.code, exit_code(error)) == expected
    assert str(error) == "it is wrong"
    assert error.as_dict() == {
        "code": expected[0],
        "message": "it is wrong",
        "field": "name",
        "remedy": "correct it",
    }


def test_tree__is_complete_and_drawn() -> None:
    found = {c for c in vars(errors).values() if isinstance(c, type)} - {object}
    ours = {c for c in found if issubclass(c, ChargEraError)}
    assert ours == set(TREE)
    assert len({kind.code for kind in ours}) == len(ours)
    for kind in ours:
        assert kind.__name__ in (errors.__doc__ or "")
        assert (kind.__doc__ or "").endswith(".")
