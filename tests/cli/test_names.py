"""Do names reach the libraries that they name?"""

from __future__ import annotations

import json
import sys
import types

import pytest
import torch
from torch import nn

from lossatlas import SpecError
from lossatlas.cli import names
from lossatlas.extras import MissingExtraError


class Library(types.ModuleType):
    """What torchvision.models and timm look like from here."""

    def __init__(self, name):
        super().__init__(name)
        self.calls = []

    def list_models(self):
        return ["resnet18", "vit_b_16"]

    def get_model(self, name, **options):
        self.calls.append((name, options))
        return nn.Linear(1, 1)

    create_model = get_model


@pytest.mark.parametrize(
    ("source", "module", "untrained"),
    [("torchvision", "torchvision.models", {"weights": None}), ("timm", "timm", {"pretrained": False})],
)
def test_models_of_libraries_are_made_untrained_unless_asked(monkeypatch, source, module, untrained):
    library = Library(module)
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, module, library)
    assert isinstance(names.model(f"{source}:resnet18"), nn.Linear)
    names.model(f"{source}:resnet18(num_classes=3)")
    assert library.calls == [("resnet18", untrained), ("resnet18", {**untrained, "num_classes": 3})]
    with pytest.raises(SpecError, match="no such model; near to it: resnet18"):
        names.model(f"{source}:resnet19")


@pytest.mark.parametrize("source", ["torchvision", "timm", "hf"])
def test_a_missing_library_names_the_extra(monkeypatch, source):
    module = {"hf": "transformers"}.get(source, source)
    monkeypatch.setitem(sys.modules, module, None)
    if source == "torchvision":
        monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'lossatlas\[{source}\]'"):
        names.model(f"{source}:resnet18")


def test_a_hugging_face_model_from_a_folder(tmp_path):
    pytest.importorskip("transformers")
    config = {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 8, "n_layer": 1, "n_head": 2,
        "vocab_size": 16, "n_positions": 8,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = names.model(f"hf:{tmp_path}")
    tokens = torch.randint(16, (2, 5))
    assert model(input_ids=tokens, labels=tokens).loss.dim() == 0
    model.save_pretrained(tmp_path)
    again = names.model(f"hf:{tmp_path}")
    assert torch.equal(again.transformer.wte.weight, model.transformer.wte.weight)
    with pytest.raises(SpecError, match="cannot be loaded"):
        names.model(f"hf:{tmp_path / 'none'}")


def test_names_are_taken_apart():
    name = names.parse("a.b/c.py:make(depth=3, kind='x', sizes=(1, 2))")
    assert (name.source, name.target) == ("a.b/c.py", "make")
    assert name.arguments == {"depth": 3, "kind": "x", "sizes": (1, 2)}
    for bad in ("a.py:", ":f", "a", "a:f(3)", "a:f(**{})", "a:f(x=1)(y=2)", "a:f(x=1"):
        with pytest.raises(SpecError, match="form|literals"):
            names.parse(bad)


def test_two_files_that_import_their_own_helper_stay_apart(tmp_path, monkeypatch):
    for folder, size in (("a", 2), ("b", 3)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "helper.py").write_text(f"SIZE = {size}\n")
        (tmp_path / folder / "train.py").write_text(
            "import torch\nfrom helper import SIZE\n\n\n"
            "def early():\n    return torch.nn.Linear(SIZE, 1)\n\n\n"
            "def late():\n    import helper\n\n    return torch.nn.Linear(helper.SIZE, 1)\n"
        )
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    made = [names.model(f"{tmp_path}/{folder}/train.py:{how}") for how in ("early", "late") for folder in "aba"]
    assert [model.in_features for model in made] == [2, 3, 2] * 2
