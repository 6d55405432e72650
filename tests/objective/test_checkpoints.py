"""Do checkpoints load safely, whole or not at all, whatever their wrapping?"""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lossatlas import SpecError, load_checkpoint
from lossatlas.objective.checkpoints import read_checkpoint


def net(width: int = 5) -> nn.Module:
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Linear(width, 2))


def prefixed(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


WRAPPINGS = {
    "plain": (lambda s: s, ""),
    "state_dict": (lambda s: {"state_dict": s, "epoch": 3}, ""),
    "model": (lambda s: {"model": s, "optimizer": {"state": {}, "lr": torch.zeros(1)}}, ""),
    "model_state_dict": (lambda s: {"model_state_dict": s}, ""),
    "lightning": (lambda s: {"state_dict": prefixed("model.", s), "pytorch-lightning_version": "2"}, "model."),
    "data parallel": (lambda s: prefixed("module.", s), "module."),
    "compiled": (lambda s: prefixed("_orig_mod.", s), "_orig_mod."),
    "compiled in parallel": (lambda s: {"model": prefixed("module._orig_mod.", s)}, "module._orig_mod."),
}


@pytest.mark.parametrize("case", WRAPPINGS)
def test_every_wrapping_is_taken_off(case, tmp_path):
    wrap, prefix = WRAPPINGS[case]
    source, target = net(), net()
    torch.save(wrap(source.state_dict()), tmp_path / "a.pt")
    assert load_checkpoint(target, tmp_path / "a.pt").prefix == prefix
    assert all(
        torch.equal(a, b) for a, b in zip(source.state_dict().values(), target.state_dict().values(), strict=True)
    )


def test_a_model_whose_own_names_begin_with_a_prefix():
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = net()

    from pathlib import Path

    from lossatlas.objective.checkpoints import load_state

    source, target = Wrapped(), Wrapped()
    assert load_state(target, source.state_dict(), source=Path("a")).prefix == ""
    assert load_state(target, prefixed("module.", source.state_dict()), source=Path("a")).prefix == "module."


def test_safetensors_and_folders_of_shards(tmp_path):
    source, target = net(), net()
    state = source.state_dict()
    save_file(state, tmp_path / "model.safetensors")
    load_checkpoint(target, tmp_path / "model.safetensors")
    assert torch.equal(source[0].weight, target[0].weight)
    load_checkpoint(net(), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    names = list(state)
    for part, chosen in (("a", names[:3]), ("b", names[3:])):
        save_file({name: state[name] for name in chosen}, tmp_path / f"{part}.safetensors")
    where = {name: ("a" if name in names[:3] else "b") + ".safetensors" for name in names}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    target = net()
    load_checkpoint(target, tmp_path)
    assert torch.equal(source[2].bias, target[2].bias)


def test_an_index_cannot_lead_out_of_its_folder(tmp_path):
    (tmp_path / "model").mkdir()
    save_file({"secret": torch.ones(1)}, tmp_path / "secret.safetensors")
    index = {"weight_map": {"secret": "../secret.safetensors"}}
    (tmp_path / "model" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(SpecError, match="is a folder without"):
        read_checkpoint(tmp_path / "model")


def test_old_files_without_batch_counters_load(tmp_path):
    state = {name: t for name, t in net().state_dict().items() if "num_batches" not in name}
    torch.save(state, tmp_path / "a.pt")
    assert load_checkpoint(net(), tmp_path / "a.pt").absent == ("1.num_batches_tracked",)


def test_another_architecture_is_named_tensor_by_tensor_and_nothing_is_loaded(tmp_path):
    torch.save({**net(7).state_dict(), "extra": torch.ones(1)}, tmp_path / "a.pt")
    model = net()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    message = r"another architecture than Sequential: 1 are unexpected \(extra\); 7 have another shape \(0.weight \(7, 3\) instead"
    with pytest.raises(SpecError, match=message):
        load_checkpoint(model, tmp_path / "a.pt")
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    torch.save({"1.weight": torch.ones(5)}, tmp_path / "b.pt")
    with pytest.raises(SpecError, match=r"7 of 9 tensors are missing \(0.weight, 0.bias, 1.bias …\)"):
        load_checkpoint(model, tmp_path / "b.pt")
    torch.save({**net().state_dict(), "extra": torch.ones(1)}, tmp_path / "c.pt")
    assert load_checkpoint(model, tmp_path / "c.pt", strict=False).ignored == ("extra",)


class Malicious:
    ran: list[int] = []

    def __reduce__(self):
        return (exec, ("import test_checkpoints_ran",))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_code_in_a_checkpoint_does_not_run(tmp_path, writer, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "test_checkpoints_ran.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    content = {"weight": torch.ones(1), "evil": Malicious()}
    if writer == "torch":
        torch.save(content, tmp_path / "a.pt")
    else:
        (tmp_path / "a.pt").write_bytes(pickle.dumps({"evil": Malicious()}))
    with pytest.raises(SpecError, match=r"would run code from the file.*only if you made the file.*--trust-pickle"):
        read_checkpoint(tmp_path / "a.pt")
    assert not (tmp_path / "ran").exists()
    if writer == "torch":
        assert list(read_checkpoint(tmp_path / "a.pt", trust_pickle=True)) == ["weight"]
        assert (tmp_path / "ran").exists()


def test_a_whole_pickled_model_needs_trust(tmp_path):
    source, target = net(), net()
    torch.save(source, tmp_path / "a.pt")
    with pytest.raises(SpecError, match="trust_pickle=True"):
        load_checkpoint(target, tmp_path / "a.pt")
    load_checkpoint(target, tmp_path / "a.pt", trust_pickle=True)
    assert torch.equal(source[0].weight, target[0].weight)


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
@pytest.mark.parametrize("kept", [0, 10, 200, -50])
def test_truncated_files_are_named(tmp_path, name, kept):
    state = net().state_dict()
    path = tmp_path / name
    save_file(state, path) if name.endswith("safetensors") else torch.save(state, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(SpecError, match=rf"checkpoint .*{name} cannot be read.*truncated"):
        load_checkpoint(net(), path)


def test_files_without_tensors_and_missing_files_are_named(tmp_path):
    with pytest.raises(SpecError, match="none.pt: no such file"):
        read_checkpoint(tmp_path / "none.pt")
    with pytest.raises(SpecError, match="is a folder without model.safetensors"):
        read_checkpoint(tmp_path)
    torch.save({"epoch": 3}, tmp_path / "a.pt")
    with pytest.raises(SpecError, match=r"has no tensors: it holds the keys \['epoch'\]"):
        read_checkpoint(tmp_path / "a.pt")
    torch.save([1, 2], tmp_path / "b.pt")
    with pytest.raises(SpecError, match="it holds a list"):
        read_checkpoint(tmp_path / "b.pt")
