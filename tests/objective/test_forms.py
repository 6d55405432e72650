"""Files of the same network in another form: loaded where the model itself knows how, else refused with that reason."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations, prune

import lossatlas as la


def _net():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def _pruned():
    model = _net()
    prune.l1_unstructured(model[0], "weight", 0.5)
    return model


def _parametrised():
    model = _net()
    parametrizations.weight_norm(model[0])
    return model


@pytest.mark.filterwarnings("ignore::FutureWarning")
def _normed():
    model = _net()
    nn.utils.weight_norm(model[0])
    return model


def _spectral():
    model = _net()
    nn.utils.spectral_norm(model[0])
    return model


def _quantised():
    return torch.ao.quantization.quantize_dynamic(_net(), {nn.Linear}, dtype=torch.qint8)


def _kept(model, tmp_path):
    path = tmp_path / "net.pt"
    torch.save({"state_dict": {f"module.{name}": t for name, t in model.state_dict().items()}}, path)
    return path


def _refusal(model, path, **options):
    before = [tensor.clone() for tensor in model.state_dict().values() if isinstance(tensor, torch.Tensor)]
    with pytest.raises(la.SpecError) as refused:
        la.load_checkpoint(model, path, **options)
    after = [tensor for tensor in model.state_dict().values() if isinstance(tensor, torch.Tensor)]
    assert all(map(torch.equal, before, after))
    assert "another architecture" not in str(refused.value)
    return str(refused.value)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("made", "word"),
    [(_pruned, "pruned"), (_parametrised, "parametrised"), (_normed, "normed"), (_spectral, "spectrally normed")],
)
def test_weights_in_another_form_are_named_in_both_ways(made, word, tmp_path):
    said = _refusal(_net(), _kept(made(), tmp_path))
    assert f"has weights of Sequential {word}: " in said
    assert "Prepare the model in the same way" in said
    said = _refusal(made(), _kept(_net(), tmp_path))
    assert f"Sequential keeps its weights {word}, and " in said


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_quantised_file_is_called_quantised(tmp_path):
    torch.save(_quantised().state_dict(), tmp_path / "net.pt")
    assert "quantised" in _refusal(_net(), tmp_path / "net.pt", trust_pickle=True)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_file_from_before_parametrizations_is_loaded_by_the_hook_of_torch(tmp_path):
    theirs, ours = _normed(), _parametrised()
    loaded = la.load_checkpoint(ours, _kept(theirs, tmp_path))
    inputs = torch.randn(5, 4)
    assert torch.allclose(ours(inputs), theirs(inputs))
    assert loaded.by == "Sequential"


class _Renamed(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 8)
        self.head = nn.Linear(8, 3)

    def _load_from_state_dict(self, state, prefix, *rest):
        for kind in ("weight", "bias"):
            if f"{prefix}fc.{kind}" in state:
                state[f"{prefix}head.{kind}"] = state.pop(f"{prefix}fc.{kind}")
        super()._load_from_state_dict(state, prefix, *rest)


class _Lenient(_Renamed):
    def load_state_dict(self, state, strict=True, assign=False):
        return super().load_state_dict(state, strict=False, assign=assign)


def test_a_model_that_renames_an_old_file_is_asked(tmp_path):
    theirs = _Renamed()
    old = {name.replace("head", "fc"): t for name, t in theirs.state_dict().items()}
    torch.save(old, tmp_path / "net.pt")
    ours = _Renamed()
    la.load_checkpoint(ours, tmp_path / "net.pt")
    assert torch.equal(ours.head.weight, theirs.head.weight)
    torch.save({name: t for name, t in old.items() if name != "fc.bias"}, tmp_path / "net.pt")
    with pytest.raises(la.SpecError, match="missing"):  # a method that takes less than all fills less than all
        la.load_checkpoint(_Lenient(), tmp_path / "net.pt")


def test_one_of_several_files_names_the_folder_and_the_index_is_read(tmp_path):
    theirs = _net()
    state = theirs.state_dict()
    parts = {name: f"model-0000{1 + (name[0] == '2')}-of-00002.safetensors" for name in state}
    for file in sorted(set(parts.values())):
        save_file({name: t for name, t in state.items() if parts[name] == file}, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": parts}))
    assert "part 1 of 2 of a checkpoint" in _refusal(_net(), tmp_path / "model-00001-of-00002.safetensors")
    ours = _net()
    la.load_checkpoint(ours, index)
    assert torch.equal(ours[2].weight, theirs[2].weight)
