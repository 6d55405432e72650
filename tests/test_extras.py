"""Is an absent or broken optional library a sentence that says what to do?"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata

import pytest

from lossatlas import extras
from lossatlas.extras import MissingExtraError, importing, require, require_from

BROKEN = {
    "built_for_another_torch": 'raise RuntimeError("operator torchvision::nms does not exist")',
    "without_a_shared_object": 'raise OSError("libsomething.so: cannot open shared object file")',
    "moved_name": "raise ImportError(\"cannot import name 'x' from 'y'\")",
    "older_than_numpy": "raise AttributeError(\"module 'numpy' has no attribute 'float'\")",
    "lacks_its_own_requirement": "import a_module_that_nobody_has",
}


def test_a_library_that_is_absent_is_named_with_the_command_that_installs_it():
    with pytest.raises(
        MissingExtraError, match=r"^no_such_library is needed to draw: pip install 'lossatlas\[draw\]'$"
    ):
        require("no_such_library.part", extra="draw", purpose="draw")


def test_a_library_without_an_extra_is_installed_by_its_own_name():
    with pytest.raises(MissingExtraError, match="pip install no_such_library$"):
        require("no_such_library", extra="", purpose="draw")


def test_of_two_broken_libraries_the_inner_one_is_to_be_installed_again(tmp_path, monkeypatch):
    (tmp_path / "outer_library.py").write_text("import inner_library")
    (tmp_path / "inner_library.py").write_text("import torch\ntorch.ops.inner_library.nms.default")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        MissingExtraError, match=r"in inner_library, which it imports.*reinstall --no-deps inner_library$"
    ):
        require("outer_library", extra="", purpose="make a model")


def remedy(name):
    """What repairs it and installs no other torch."""
    return "pip install" if name == "lacks_its_own_requirement" else "pip install --force-reinstall --no-deps"


@pytest.mark.parametrize(
    ("torch_version", "command"),
    [
        ("2.13.0+cpu", "torchvision==0.28.0, with the --index-url that your torch (build cpu) came from"),
        ("2.6.0+cu124", "torchvision==0.21.0, with the --index-url that your torch (build cu124) came from"),
        ("2.14.1", "torchvision==0.29.1"),
        ("2.15.0.dev20260101+cpu", "torchvision"),
        ("3.0.0", "torchvision"),
    ],
)
def test_another_torchvision_is_the_one_that_belongs_to_this_torch(torch_version, command, monkeypatch):
    monkeypatch.setattr(extras.metadata, "version", lambda name: {"torch": torch_version}[name])
    said = extras.broken("torchvision", "make torchvision:resnet18", RuntimeError("no such operator"))
    assert said.endswith(f"this torch: pip install --force-reinstall --no-deps {command}")


@pytest.mark.parametrize("name", BROKEN)
def test_a_library_that_is_broken_says_so_in_one_sentence(name, tmp_path, monkeypatch):
    (tmp_path / f"broken_{name}.py").write_text(BROKEN[name])
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtraError, match="is installed but cannot be imported") as caught:
        require(f"broken_{name}", extra="torchvision", purpose="make torchvision:resnet18")
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(f"{remedy(name)} broken_{name}")


LAZY = """
import importlib
def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    try:
        return importlib.import_module("lazy_library_inside").anything
    except Exception as fault:
        raise ModuleNotFoundError(f"Could not import module {name!r}") from fault
def read(fails):
    from lazy_library_inside import anything
"""


@pytest.mark.parametrize("name", BROKEN)
def test_what_a_library_imports_only_when_it_is_used_is_told_in_the_same_sentence(name, tmp_path, monkeypatch):
    """As transformers imports torchvision with the first class that asks for it."""
    (tmp_path / "lazy_library.py").write_text(LAZY)
    (tmp_path / "lazy_library_inside.py").write_text(f"import inner_{name}")
    (tmp_path / f"inner_{name}.py").write_text(BROKEN[name])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lazy_library", raising=False)
    library = require("lazy_library", extra="hf", purpose="record")
    said = f"^lazy_library is needed to record; it is installed but.*{remedy(name)} inner_{name}$"
    with pytest.raises(MissingExtraError, match=said):
        require_from("lazy_library", "Trainer", extra="hf", purpose="record")
    with pytest.raises(MissingExtraError, match=said), importing("lazy_library", "record"):
        library.read(True)


def test_what_a_library_raises_that_imports_nothing_is_left_as_it_is():
    with pytest.raises(ZeroDivisionError), importing("math", "count"):
        1 / 0  # noqa: B018
    with pytest.raises(ImportError, match="sentencepiece was not found$"), importing("math", "count"):
        raise ImportError("sentencepiece was not found")
    with pytest.raises(MissingExtraError, match="^none$"), importing("math", "count"):
        raise MissingExtraError("none")


def test_what_transformers_and_peft_need_is_named_by_every_door(tmp_path):
    """With a torchvision that was built for another torch; in a process of its own, since the libraries stay imported."""
    for library in ("transformers", "peft"):
        pytest.importorskip(library)
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(BROKEN["built_for_another_torch"])
    (tmp_path / "torchvision-99.0.dist-info").mkdir()
    (tmp_path / "torchvision-99.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: torchvision\nVersion: 99.0\n"
    )
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "config.json").write_text(
        '{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_layer": 1, "n_head": 1, "n_embd": 8}'
    )
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    code = """
import torch, lossatlas as la
from lossatlas.cli import names
from lossatlas.extras import MissingExtraError
from lossatlas.paths import callbacks
from lossatlas.space.adapters import lora
model = torch.nn.Linear(2, 1)
for door in (
    callbacks.trainer,
    lambda: names.model("hf:net"),
    lambda: names.model("torchvision:resnet18"),
    lambda: la.load_checkpoint(model, "adapter"),
    lambda: lora(model, torch.nn.Linear(2, 1)),
):
    try:
        door()
    except MissingExtraError as fault:
        print(fault)
"""
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-2000:]
    said = found.stdout.splitlines()
    assert len(said) == 5, found.stdout
    version, _, build = metadata.version("torch").partition("+")
    _, minor, patch = version.split(".")
    remedy = f"pip install --force-reinstall --no-deps torchvision==0.{int(minor) + 15}.{patch}"
    remedy += f", with the --index-url that your torch (build {build}) came from" * bool(build)
    for line in said:
        assert "torchvision::nms does not exist" in line
        assert line.partition(". ")[2] == f"Install a version that fits this Python and this torch: {remedy}"
