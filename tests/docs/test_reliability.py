"""Is the table of faults whole, and does every test that it names exist?"""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "explanation" / "reliability.md"


def rows() -> list[list[str]]:
    text = PAGE.read_text(encoding="utf-8").partition("## Faults and what came of them")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:2] == "| "]
    assert cells[0] == ["fault", "how it is injected", "how often", "what happened", "test"]
    return cells[1:]


def named(row: list[str]) -> list[tuple[str, str]]:
    return [(file, name) for file, _, name in (text.partition("::") for text in re.findall(r"`([^`]+)`", row[4]))]


def test_every_fault_says_how_often_what_happened_and_which_test():
    for row in rows():
        assert len(row) == 5, row
        assert all(row), row
        assert named(row), f"{row[0]}: no test is named"


def test_every_test_that_the_table_names_exists():
    for row in rows():
        for file, name in named(row):
            found = list(TESTS.rglob(file))
            assert found, f"{row[0]}: there is no {file}"
            if name:
                functions = {
                    node.name
                    for path in found
                    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                    if isinstance(node, ast.FunctionDef)
                }
                assert name in functions, f"{row[0]}: {file} has no {name}"
