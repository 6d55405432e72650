"""Is an absent or broken optional library a sentence that says what to do?"""

from __future__ import annotations

import pytest

from lossatlas.extras import MissingExtraError, require

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
    with pytest.raises(MissingExtraError, match=r"in inner_library, which it imports.*reinstall inner_library$"):
        require("outer_library", extra="", purpose="make a model")


@pytest.mark.parametrize("name", BROKEN)
def test_a_library_that_is_broken_says_so_in_one_sentence(name, tmp_path, monkeypatch):
    (tmp_path / f"broken_{name}.py").write_text(BROKEN[name])
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtraError, match="is installed but cannot be imported") as caught:
        require(f"broken_{name}", extra="torchvision", purpose="make torchvision:resnet18")
    assert "\n" not in str(caught.value)
    assert f"pip install --force-reinstall broken_{name}" in str(caught.value)
