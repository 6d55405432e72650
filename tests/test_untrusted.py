"""Files that somebody else wrote: what leads out of them is refused, what they claim is checked against their size."""

import io
import json
import zipfile

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

import lossatlas as la
from lossatlas.results import interchange
from lossatlas.results.landscape import save
from lossatlas.untrusted import bare_name, check_zip, json_object, printable, safetensors_header, text_of

X = np.linspace(-1, 1, 5)


def surface(path):
    with h5py.File(path, "w") as file:
        file["xcoordinates"] = X
        file["ycoordinates"] = X
        file["train_loss"] = np.add.outer(X**2, X**2)
    return path


def landscape(path):
    save(la.landscape(x=X, loss=X**2), path)
    return path


@pytest.fixture(params=["surface", "landscape"])
def some(request, tmp_path):
    """A good file of HDF5, and its reader."""
    if request.param == "surface":
        return surface(tmp_path / "a.h5"), interchange.read_surface
    return landscape(tmp_path / "a.nc"), la.open


def change(path, name, make):
    with h5py.File(path, "a") as file:
        del file[name]
        make(file)


def test_a_good_file_is_read(some):
    path, read = some
    assert "loss" in read(path)


def test_a_link_to_another_file_is_refused_and_not_followed(some, tmp_path):
    path, read = some
    surface(tmp_path / "secret.h5")
    name = "train_loss" if path.suffix == ".h5" else "loss"
    change(path, name, lambda file: file.__setitem__(name, h5py.ExternalLink("secret.h5", "train_loss")))
    with pytest.raises(la.SpecError, match=r"a\.(h5|nc): .* links to another file"):
        read(path)


def test_data_stored_in_another_file_are_refused(some, tmp_path):
    path, read = some
    (tmp_path / "secret.bin").write_bytes(np.arange(25.0).tobytes())
    name = "train_loss" if path.suffix == ".h5" else "loss"
    shape = (5, 5) if path.suffix == ".h5" else (5,)
    outside = [(str(tmp_path / "secret.bin"), 0, h5py.h5f.UNLIMITED)]
    change(path, name, lambda file: file.create_dataset(name, shape, "f8", external=outside))
    with pytest.raises(la.SpecError, match="lie in another file"):
        read(path)


def test_a_virtual_data_set_is_refused(some, tmp_path):
    path, read = some
    surface(tmp_path / "secret.h5")
    name = "train_loss" if path.suffix == ".h5" else "loss"
    layout = h5py.VirtualLayout((5, 5), "f8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "train_loss", (5, 5))
    change(path, name, lambda file: file.create_virtual_dataset(name, layout))
    with pytest.raises(la.SpecError, match="lie in another file"):
        read(path)


@pytest.mark.parametrize("chunks", [None, (1024, 1024)])
def test_a_data_set_larger_than_its_file_is_refused_before_it_is_read(some, chunks):
    path, read = some
    name = "train_loss" if path.suffix == ".h5" else "loss"
    change(path, name, lambda file: file.create_dataset(name, (10**6, 10**6), "f8", chunks=chunks))
    with pytest.raises(la.SpecError, match=r"claims 8,000,000,000,000 bytes, stored in \d+"):
        read(path)


def test_a_group_that_holds_itself_ends(tmp_path):
    path = surface(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        file["again"] = file["/"]
        file["nowhere"] = h5py.SoftLink("/not/there")
    assert "loss" in interchange.read_surface(path)


def test_a_header_of_safetensors_is_measured_before_it_is_read(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"x/w": np.ones(3, np.float32)}, path)
    header = safetensors_header(path)
    start, end = header["x/w"]["data_offsets"]
    assert np.frombuffer(path.read_bytes()[start:end], "<f4").tolist() == [1, 1, 1]
    path.write_bytes((2**62).to_bytes(8, "little") + path.read_bytes()[8:])
    with pytest.raises(la.SpecError, match=r"claims 4,611,686,018,427,387,904 bytes of a file of \d+"):
        safetensors_header(path)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 12]},
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 4 * 10**12]},
        {"dtype": "F32", "shape": [-3], "data_offsets": [0, 12]},
        {"dtype": "F32", "shape": [3], "data_offsets": [-12, 0]},
        {"dtype": 3, "shape": [3], "data_offsets": [0, 12]},
        {"shape": [3]},
        [],
        None,
    ],
)
def test_a_tensor_that_lies_outside_of_its_file_is_refused(tmp_path, entry):
    text = json.dumps({"x/w": entry}).encode()
    (tmp_path / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(12))
    with pytest.raises(la.SpecError, match=r"a\.safetensors cannot be read as safetensors"):
        safetensors_header(tmp_path / "a.safetensors")


def test_an_archive_made_to_fill_the_memory_is_refused(tmp_path):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (10**9,)})
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("loss.npy", "w") as file,
    ):
        file.write(head.getvalue())
        for _ in range(512):
            file.write(bytes(2**20))
    with pytest.raises(la.SpecError, match="made to fill the memory"):
        check_zip(tmp_path / "a.npz")
    with pytest.raises(la.SpecError, match=r"a\.npz: it claims"):
        la.results.arrays.read_table(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["../a", "a/b", "/etc/passwd", "..", ".", "", "a\\b", "C:a", "a\0b", 3, None])
def test_a_name_that_leads_out_of_its_folder_is_refused(name):
    with pytest.raises(la.SpecError, match="outside of its folder"):
        bare_name(name, "index.json")


def test_json_and_text_have_limits_and_say_what_is_wrong(tmp_path):
    for content, message in (
        (b"[" * 100_000, "nested too deep"),
        (b"[1]", "holds a list"),
        (b"\xff", "cannot be read as JSON"),
        (b"{", "cannot be read as JSON"),
        (b"{" + b" " * 100 + b"}", "may have at most 100"),
    ):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(la.SpecError, match=rf"a\.json.*{message}"):
            json_object(tmp_path / "a.json", most=100 if len(content) == 102 else 10**6)
    with pytest.raises(la.SpecError, match="no such file"):
        text_of("/dev/zero")


def test_what_a_terminal_would_obey_is_replaced():
    assert printable("\x1b]0;owned\x07 \ud800 ‮evil \x00\n") == "�]0;owned� � �evil � "
    assert printable("Größe α 模型 🙂 é") == "Größe α 模型 🙂 é"


@pytest.mark.parametrize("name", ["status", "x", "loss_low", "error_uncertainty", "error_se", "a_length", "b_spread"])
def test_a_metric_with_a_name_of_the_schema_is_refused_at_once(name):
    import torch

    with pytest.raises(la.SpecError, match=rf"metrics: '{name}' cannot name a value"):
        la.Objective(torch.nn.Linear(1, 1), (torch.ones(2, 1), torch.ones(2, 1)), metrics={name: la.metrics.error})
    if name != "x":
        with pytest.raises(la.SpecError, match=rf"columns: '{name}' cannot name a value"):
            la.landscape(x=X, loss=X, **{name: X})
