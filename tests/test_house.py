"""Is the house as its plan says: no file imports in a circle, every room says what it answers, nothing outgrows a screen?"""

from __future__ import annotations

import ast
import functools
import graphlib
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import lossatlas

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {"lossatlas": ROOT / "src", "lossatlas_studies": ROOT / "studies" / "src"}
FILES = {
    ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path
    for package, source in SOURCES.items()
    for path in (source / package).rglob("*.py")
}
ROOMS = sorted(name for name, path in FILES.items() if path.name == "__init__.py" and name.count(".") == 1)
NO_TORCH = ("figure", "field", "draw", "results")


def imports(name: str, files: dict[str, Path]) -> set[str]:
    """The files that a file imports, also inside its functions, but for those that only type checkers read."""
    tree = ast.parse(files[name].read_text(encoding="utf-8"))
    unread = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in unread:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {one if one in files else node.module for one in inner}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & set(files) - {name}


def circle(files: dict[str, Path]) -> list[str]:
    sorter = graphlib.TopologicalSorter({name: imports(name, files) for name in files})
    try:
        sorter.prepare()
    except graphlib.CycleError as fault:
        return fault.args[1]
    return []


def test_no_files_import_each_other_in_a_circle():
    # `lossatlas` itself offers every name lazily, so what asks it by name asks the room behind it.
    assert circle({name: path for name, path in FILES.items() if name != "lossatlas"}) == []


def test_a_circle_is_found(tmp_path):
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        (tmp_path / f"{name}.py").write_text(f"def f():\n    from {other} import f\n")
    assert set(circle({name: tmp_path / f"{name}.py" for name in "abc"})) == {"a", "b", "c"}


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_says_what_it_answers(room):
    words = ast.get_docstring(ast.parse(FILES[room].read_text(encoding="utf-8")))
    assert words
    assert len(words.splitlines()[0]) > 30


@pytest.mark.parametrize("room", NO_TORCH)
def test_pictures_and_results_need_no_torch(room):
    names = [name for name in FILES if name.startswith(f"lossatlas.{room}")]
    program = f"import sys, importlib; [importlib.import_module(n) for n in {names!r}]; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", sorted(FILES))
def test_files_and_functions_fit(name):
    text = FILES[name].read_text(encoding="utf-8")
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 80, node.name


def offered(tree: ast.Module) -> list[str] | None:
    """What a file's `__all__` lists, or nothing where it has none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return None


def made(tree: ast.Module) -> set[str]:
    """The public functions and classes of a file."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return {node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")}


BY_HAND = re.compile(r"""== 1 else f?["'][^"']*(\b(are|were|have|do|belong|points|minima)\b|ies)|["']e?s["'] \* \(""")


def test_words_agree_with_a_number_by_one_rule():
    """Which is ``number_of``, or ``verb_of`` where other words lie between."""
    texts = {name: path.read_text(encoding="utf-8") for name, path in FILES.items() if name != "lossatlas.oneline"}
    assert [(name, found[0]) for name, text in texts.items() for found in BY_HAND.finditer(text)] == []


@pytest.mark.parametrize("name", sorted(name for name in FILES if name.startswith("lossatlas.")))
def test_a_file_lists_what_it_offers(name):
    tree = ast.parse(FILES[name].read_text(encoding="utf-8"))
    listed = offered(tree)
    assert made(tree) <= set(listed or ()), "add the new public name to __all__, or begin it with an underscore"
    if listed is not None:
        module = importlib.import_module(name)
        assert [one for one in listed if not hasattr(module, one)] == []


@pytest.mark.parametrize("name", ["directions", "draw", "filters", "metrics", "sharpness", "zoo"])
def test_a_module_that_users_meet_lists_its_public_names_alone(name):
    module = getattr(lossatlas, name)
    assert dir(module) == sorted(module.__all__)
    assert not [one for one in dir(module) if inspect.ismodule(getattr(module, one))]


@functools.cache
def meanings() -> dict[str, list[str]]:
    """The files that have a function or a class of a name, by the name."""
    found: dict[str, list[str]] = {}
    for file, path in FILES.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.setdefault(node.name, []).append(file)
    return found


@pytest.mark.parametrize("name", ["Axis", "Block", "Plan", "Recipe", "Way", "compare", "whole"])
def test_a_name_means_one_thing(name):
    assert len(meanings().get(name, [])) <= 1


def walk() -> list[tuple[str, str]]:
    """The files and functions of the walk in the architecture's page, in its order."""
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    return re.findall(r"^\| \d+ \| `([\w/]+\.py)` \| `([\w.]+)` \|", page, flags=re.MULTILINE)


def test_the_walk_from_a_call_to_a_picture_is_the_one_that_the_architecture_describes(tmp_path):
    def ask():
        model = torch.nn.Linear(2, 1)
        objective = lossatlas.Objective(model, (torch.ones(3, 2), torch.ones(3, 1)), loss=torch.nn.functional.mse_loss)
        plane = lossatlas.Plane.random(objective, seed=0)
        grid = lossatlas.Grid(x=(-1, 1, 3), y=(-1, 1, 3))
        landscape = lossatlas.sample(objective, plane, grid, run=tmp_path / "run", plan="plain", progress=False)
        lossatlas.draw(landscape, tmp_path / "a.png")

    met = []

    def note(frame, event, argument):
        source = "/lossatlas/"
        if event == "call" and source in frame.f_code.co_filename:
            met.append((frame.f_code.co_filename.rsplit(source, 1)[1], frame.f_code.co_qualname))

    sys.setprofile(note)
    try:
        ask()
    finally:
        sys.setprofile(None)
    described = walk()
    assert len(described) == 14
    at = 0
    for step in described:  # each comes after the one before
        assert step in met[at:], step
        at = met.index(step, at)
    first_value = next(place for place, (_, name) in enumerate(met) if name == "Evaluator.answer")
    assert described.index(("objective/objective.py", "Objective.measure")) < 10
    kept = [place for place, step in enumerate(met) if step == ("results/journal.py", "Journal.commit")]
    assert met.index(("objective/probe.py", "probe")) < kept[0] < met.index(("evaluate/choice.py", "choose"))
    assert kept[0] < first_value < kept[1]
