"""The README, the site, the public docstrings, the errors and the help are written in plain sentences."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, name_of
from tests.docs.wording import CODE, MODULES, find_faults, find_names, find_unnamed, read_code, read_page

# One for each folder of the code, so that a fault is found where it is.
PARTS = sorted({path.relative_to(CODE).parts[0] for path in CODE.rglob("*.py")})


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_are_written_in_plain_sentences(page: Path) -> None:
    assert find_faults(read_page(page).prose) == []


@pytest.mark.parametrize("part", PARTS)
def test_docstrings_errors_and_help_are_written_in_plain_sentences(part: str) -> None:
    modules = [CODE / part] if part.endswith(".py") else sorted((CODE / part).rglob("*.py"))
    texts = [text for module in modules for text in read_code(module)]
    assert [(text.position, fault) for text in texts for fault in find_faults(text.prose)] == []


@pytest.mark.parametrize(
    ("code", "faults"),
    [
        ('class A:\n    """What is stored."""\n', 1),
        ('class A:\n    """A session."""\n    def b(self):\n        """Give it to whoever asks."""\n', 1),
        ('class _A:\n    """What is stored."""\n', 0),
        ('def a():\n    """Do it.\n\n    Raises:\n        E: What was given is wrong.\n    """\n', 2),
        ('raise MyError(f"{x} says no")\n', 1),
        ('app.get("/", description="Whatever it holds.")\n', 2),
        ('Option(help="The id. Is it long? What is it?")\n', 0),
        (f'Option(help="{"word " * 46}")\n', 1),
    ],
)
def test_a_fault_is_found_in_each_kind_of_text(code: str, faults: int) -> None:
    texts = read_code(ROOT / "invented.py", code)
    assert sum(len(find_faults(text.prose)) for text in texts) == faults


def test_comments_and_docstrings_name_the_actor() -> None:
    modules = [path for path in CODE.rglob("*.py") if CODE / "testing" not in path.parents]
    assert {name_of(path): lines for path in modules if (lines := find_unnamed(path.read_text()))} == {}
    assert find_unnamed("a = 1  # Somebody else was first.") == ["a = 1  # Somebody else was first."]


def test_no_name_has_a_retired_word() -> None:
    named = {path: f"{path.stem} = 0\n{path.read_text()}" for path in MODULES}
    assert {name_of(path): names for path, code in named.items() if (names := [*find_names(code)])} == {}


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("given = 1", ["given"]),
        ("def f(kept_rows, *, told): ...", ["kept_rows", "told"]),
        ("class PlacedNode: ...", ["PlacedNode"]),
        ("self._behind = 1", ["_behind"]),
        ("for place in []: [said for said in place]", ["place", "said"]),
        ("@pytest.mark.long\ndef test_what_is_given(): ...", []),
        ("replaced, placeholder, notice = read(given=1)", []),
    ],
)
def test_a_retired_word_is_found_in_each_kind_of_name(code: str, names: list[str]) -> None:
    assert [*find_names(code)] == names
