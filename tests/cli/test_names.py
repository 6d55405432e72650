"""Do names reach the libraries that they name?"""

from __future__ import annotations

import importlib
import json
import sys
import types

import pytest
import torch
from torch import nn

from lossatlas import SpecError
from lossatlas.cli import corpus, library_names, names, scan
from lossatlas.extras import MissingExtraError
from lossatlas.objective import hub


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
    with pytest.raises(SpecError, match="no such model; similar names: resnet18"):
        names.model(f"{source}:resnet19")


@pytest.mark.parametrize(
    ("name", "random"),
    [
        ("timm:resnet18", True),
        ("timm:resnet18(pretrained=True)", False),
        ("timm:resnet18(checkpoint_path='a.pt')", False),
        ("torchvision:resnet18", True),
        ("torchvision:resnet18(weights='DEFAULT')", False),
        ("torchvision:detector", False),
        ("torchvision:detector(weights_backbone=None)", True),
        ("zoo:mlp", True),
        ("user.py:make", False),
    ],
)
def test_a_picture_of_random_weights_says_so(monkeypatch, name, random):
    def builder(target):
        return (lambda *, weights=None, weights_backbone="v1": None) if target == "detector" else (lambda **_: None)

    library = Library("torchvision.models")
    library.get_model_builder = builder
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", library)
    short = name.partition("(")[0].partition(":")[2]
    told = scan.Scan(model=name, data="zoo:digits")
    assert scan.called(told, nn.Linear(1, 1)) == (f"random weights of {short}" if random else short)
    told = scan.Scan(model=name, data="zoo:digits", checkpoint="best.pt")
    assert scan.called(told, nn.Linear(1, 1)) == short


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
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SpecError, match="cannot be loaded"):
        names.model(f"hf:{tmp_path}")


MISSING = [
    "nofolder",
    "./nofolder",
    "../no/folder",
    "/no/such/folder",
    "~/nofolder",
    "a/b/c",
    "runs/nofolder",
    "no folder",
    "x/",
]


@pytest.mark.parametrize("place", MISSING)
def test_a_folder_that_is_not_there_is_said_without_asking_the_hub(place, tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    asked = []
    for kind in (transformers.AutoConfig, transformers.AutoTokenizer):
        monkeypatch.setattr(kind, "from_pretrained", lambda *given, **options: asked.append(given))
    with pytest.raises(SpecError, match="no such folder .*OWNER/NAME|no such folder .*hf download runs/nofolder"):
        names.model(f"hf:{place}")
    with pytest.raises(SpecError, match="--tokenizer .*no such folder"):
        corpus._tokenizer(place, given=True)
    assert asked == []


def test_a_name_at_the_hub_is_left_to_the_hub_and_an_old_one_to_its_cache(monkeypatch):
    for place in ("openai-community/gpt2", "owner_1/Name-2.5", "google/bert_uncased_L-2_H-128_A-2"):
        hub.check_place(place, place)
    with pytest.raises(SpecError, match="openai-community/gpt2"):
        hub.check_place("gpt2", "gpt2")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda place, file: f"/cache/{place}/{file}")
    hub.check_place("gpt2", "gpt2")


@pytest.mark.parametrize("library", ["torchvision:resnet18", "timm:resnet18", "hf:net"])
def test_data_is_offered_what_names_data(library):
    with pytest.raises(SpecError, match="names a model; expected file.py:callable.*zoo:NAME, images.npz") as told:
        names.data(library)
    assert "torchvision:" not in str(told.value).partition("expected")[2]
    for ask in (names.data, lambda text: names.loss(text), lambda text: names.metric(text)):
        with pytest.raises(SpecError, match="no module 'no'; expected file.py:callable") as told:
            ask("no.such:thing")
        assert "timm:" not in str(told.value)


def test_a_broken_library_that_transformers_imports_lazily_is_named(tmp_path, monkeypatch):
    (tmp_path / "seeing.py").write_text("raise RuntimeError('operator seeing::nms does not exist')\n")
    monkeypatch.syspath_prepend(tmp_path)

    def lazily(place):
        try:
            importlib.import_module("seeing")
        except RuntimeError as fault:
            raise ModuleNotFoundError(
                "Could not import module 'Net'. Are its requirements defined correctly?"
            ) from fault

    library = types.SimpleNamespace(AutoConfig=types.SimpleNamespace(from_pretrained=lazily))
    monkeypatch.setattr(library_names, "require", lambda *_, **__: library)
    with pytest.raises(MissingExtraError) as told:
        names.model(f"hf:{tmp_path}")
    assert "(RuntimeError: operator seeing::nms does not exist in seeing, which it imports)" in str(told.value)
    assert str(told.value).endswith("pip install --force-reinstall --no-deps seeing")


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
