"""How a scene becomes a file for ParaView (vtp, vti), Blender (glb) or a printer (stl)."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np

from lossatlas import extras
from lossatlas.draw import mesh_overlays, rim, solid
from lossatlas.draw.scene import Cells, Scene
from lossatlas.errors import SpecError
from lossatlas.figure.palettes import rgb
from lossatlas.figure.words import ascii_only
from lossatlas.results.landscape import Status

__all__ = ["GAP", "HEIGHT", "PRINT_BASE", "PRINT_SIDE", "SIDE", "SUFFIXES", "check", "factors", "sheets", "write"]

SUFFIXES = (".vtp", ".vti", ".glb", ".stl")

# The box around a surface: its longer horizontal side, and its height in parts of that.
SIDE, HEIGHT = 2.0, 0.6
# The same box when printed, in millimetres, and how thick the base under the lowest point is.
PRINT_SIDE, PRINT_BASE = 100.0, 3.0
THIN = 0.004
"""Radius of a path on a surface, as a share of its side."""

# Room between surfaces that are compared, as a share of the side.
GAP = 0.15


def check(scene: Scene, suffix: str) -> None:
    """Refuse what the format cannot hold, before anything is written.

    Args:
        scene: what is to be drawn.
        suffix: ".vtp", ".vti", ".glb" or ".stl".

    Raises:
        SpecError: a curve; a volume in a format other than vti; several Landscapes or uneven axes in a vti.
    """
    if scene.curves:
        raise SpecError(f"a {suffix} file holds surfaces, but this landscape has 1 axis; draw it as .png or .html")
    if suffix != ".vti":
        if scene.volumes:
            raise SpecError(f"a {suffix} file holds surfaces, but this landscape has 3 axes; draw it as .vti or .html")
        return
    blocks = scene.volumes or scene.panels
    if len(blocks) > 1:
        raise SpecError(f"a .vti file holds one landscape, got {len(blocks)}; write one file for each, or a .vtp")
    for axis in blocks[0].axes:
        steps = np.diff(axis.coordinates)
        if not np.allclose(steps, steps[0], rtol=1e-6):
            raise SpecError(f"a .vti file needs evenly spaced coordinates, but axis {axis.name!r} has none; use .vtp")


def write(scene: Scene, path: Path) -> None:
    """Write a mesh.

    Heights are those of the picture: on its scale, stretched to a box, and cut off at the clip along its contour line.
    The values as they were measured are point data of vtp and vti, and the factor between height and value is stored
    in each file. On the rim of a vtp they are interpolated, as their status says. A cell without a value is a hole in
    vtp, glb and stl, and NaN in vti.

    Args:
        scene: what is drawn, from :func:`lossatlas.draw.view.compile`.
        path: the file; its suffix chooses the format.

    Raises:
        SpecError: the format cannot hold this scene, or no cell of it has a value.
        ImportError: pyvista or trimesh is not installed; the message has the command that installs it.
    """
    suffix = path.suffix.lower()
    check(scene, suffix)
    {".vtp": _write_vtp, ".vti": _write_vti, ".glb": _write_glb, ".stl": _write_stl}[suffix](scene, path)


def factors(scene: Scene) -> tuple[float, float, float]:
    """What a multiple of the direction along x and y, and a unit of height, become in a mesh.

    The horizontal sides keep the ratio they have in parameter space, where the lengths of the directions are known.

    Returns:
        Three factors.
    """
    sides = []
    for axis in scene.panels[0].axes:
        low, high = scene.limits[axis.name]
        length = axis.length if math.isfinite(axis.length) and axis.length > 0 else 1.0
        sides.append(((high - low) * length, length))
    scale = SIDE / max(extent for extent, _ in sides)
    bottom, top = scene.range.limits
    return sides[0][1] * scale, sides[1][1] * scale, HEIGHT * SIDE / (top - bottom)


def sheets(scene: Scene) -> list[rim.Surface]:
    """The surfaces of the panels side by side, with their lowest shown height at z = 0, cut off at the clip.

    Returns:
        One surface for each panel.

    Raises:
        SpecError: a panel has no whole cell with values.
    """
    by_x, by_y, by_z = factors(scene)
    bottom, top = scene.range.limits
    step = _step(scene)
    found = []
    for index, panel in enumerate(scene.panels):
        x, y = (axis.coordinates for axis in panel.axes)
        heights = (panel.heights(scene.value, scene.range, beyond=1.0) - bottom) * by_z
        surface = rim.surface(x * by_x + index * step, y * by_y, heights, top=(top - bottom) * by_z)
        if not len(surface.triangles):
            raise SpecError(
                f"landscape {panel.title!r}: no four neighbouring cells have values, so there is no surface"
            )
        found.append(surface)
    return found


def _step(scene: Scene) -> float:
    """The distance from one panel to the next."""
    low, high = scene.limits[scene.panels[0].axes[0].name]
    return (high - low) * factors(scene)[0] * (1 + GAP)


def _upon(scene: Scene) -> list[mesh_overlays.Laid]:
    return [one for one in mesh_overlays.laid(scene, factors(scene), _step(scene)) if one.pieces]


def _facts(scene: Scene) -> dict[str, Any]:
    """What a reader of the file must know to get from heights back to values."""
    by_x, by_y, by_z = factors(scene)
    return {
        "value": scene.value,
        "scale": scene.range.scale,
        "low": scene.range.low,
        "high": scene.range.high,
        "x_factor": by_x,
        "y_factor": by_y,
        "height_factor": by_z,
        "caption": " ".join(scene.caption.sentences),
    }


def _xml(mesh: Any, writer: str) -> bytes:
    """A mesh as the XML of VTK, made in memory: on a full disk the library itself would crash."""
    made = getattr(importlib.import_module("vtkmodules.vtkIOXML"), writer)()
    made.SetInputData(mesh)
    made.SetDataModeToBinary()
    made.WriteToOutputStringOn()
    made.Write()
    text: str = made.GetOutputString()
    return text.encode()


def _write_vtp(scene: Scene, path: Path) -> None:
    pyvista = extras.require("pyvista", extra="mesh", purpose="write a .vtp file")
    parts = []
    for index, (panel, sheet) in enumerate(zip(scene.panels, sheets(scene), strict=True)):
        part = pyvista.PolyData.from_regular_faces(sheet.points, sheet.triangles)
        for name, array in _point_data(scene, panel).items():
            part.point_data[name] = sheet.carry(np.asarray(array, float))
        on_rim = np.where(sheet.share == 0, panel.status.reshape(-1)[sheet.ends[:, 0]], int(Status.INTERPOLATED))
        part.point_data["status"] = on_rim.astype(panel.status.dtype)
        part.point_data["landscape"] = np.full(len(sheet.points), index, np.int32)
        parts.append(part)
    whole = parts[0] if len(parts) == 1 else parts[0].append_polydata(*parts[1:])
    if upon := _upon(scene):
        whole = mesh_overlays.with_lines(pyvista, whole, upon, THIN * SIDE)
    whole.point_data.active_scalars_name = scene.value
    _store(whole, scene)
    whole.field_data["titles"] = [ascii_only(panel.title) for panel in scene.panels]
    if upon:
        whole.field_data["overlays"] = [ascii_only(", ".join(filter(None, (one.label, *one.words)))) for one in upon]
    path.write_bytes(_xml(whole, "vtkXMLPolyDataWriter"))


def _point_data(scene: Scene, panel: Cells) -> dict[str, np.ndarray]:
    """Values as measured, the heights of the view before stretching, coordinates and status; all [nx, ny, ...]."""
    data = {name: np.asarray(array, float) for name, array in panel.values.items()}
    data[f"{scene.value} as shown"] = panel.heights(scene.value, scene.range)
    grids = np.meshgrid(*(axis.coordinates for axis in panel.axes), indexing="ij")
    data.update({axis.name: grid for axis, grid in zip(panel.axes, grids, strict=True)})
    data["status"] = panel.status
    return data


def _store(target: Any, scene: Scene) -> None:
    facts = _facts(scene) if scene.panels and not scene.volumes else {"caption": " ".join(scene.caption.sentences)}
    for name, fact in facts.items():
        target.field_data[name] = [ascii_only(fact) if isinstance(fact, str) else fact]


def _write_vti(scene: Scene, path: Path) -> None:
    """Values on a regular grid, coordinates in multiples of the direction; VTK's first index runs fastest."""
    pyvista = extras.require("pyvista", extra="mesh", purpose="write a .vti file")
    block = (scene.volumes or scene.panels)[0]
    coordinates = [axis.coordinates for axis in block.axes]
    image = pyvista.ImageData(
        dimensions=[*block.status.shape, 1][:3],
        origin=[*(float(c[0]) for c in coordinates), 0.0][:3],
        spacing=[*(float((c[-1] - c[0]) / (len(c) - 1)) for c in coordinates), 1.0][:3],
    )
    for name, array in _point_data(scene, block).items():
        image.point_data[name] = array.reshape(-1, order="F")
    image.point_data.active_scalars_name = scene.value
    _store(image, scene)
    path.write_bytes(_xml(image, "vtkXMLImageDataWriter"))


def _write_glb(scene: Scene, path: Path) -> None:
    """One node for each panel, with the picture's colours at its vertices; y is up, as glTF has it."""
    trimesh = extras.require("trimesh", extra="mesh", purpose="write a .glb file")
    bottom, top = scene.range.limits
    collection = trimesh.Scene(metadata=_facts(scene))
    for panel, sheet in zip(scene.panels, sheets(scene), strict=True):
        colours = rgb(sheet.points[:, 2] / ((top - bottom) * factors(scene)[2]), scene.colours)
        x, y, z = sheet.points.T
        shape = trimesh.Trimesh(
            vertices=np.column_stack([x, z, -y]),
            faces=sheet.triangles,
            vertex_colors=np.column_stack([np.round(255 * colours), np.full(len(colours), 255)]).astype(np.uint8),
            process=False,
            metadata=_facts(scene),
        )
        collection.add_geometry(shape, node_name=panel.title, geom_name=panel.title)
    for one in _upon(scene):
        for name, shape in mesh_overlays.beads(trimesh, one, THIN * SIDE):
            collection.add_geometry(shape, node_name=name, geom_name=name)
    path.write_bytes(collection.export(file_type="glb"))


def _write_stl(scene: Scene, path: Path) -> None:
    """One closed solid for each panel, in millimetres; where a cell has no value there is a hole through it."""
    trimesh = extras.require("trimesh", extra="mesh", purpose="write a .stl file")
    parts = []
    scale = PRINT_SIDE / SIDE
    for sheet in sheets(scene):
        vertices, faces = solid.closed(sheet.points, sheet.triangles, base=PRINT_BASE / scale)
        parts.append(trimesh.Trimesh(vertices=vertices * scale, faces=faces, process=False))
    written = bytearray(trimesh.util.concatenate(parts).export(file_type="stl"))
    words = f"lossatlas {scene.value} {scene.range.scale}, mm per unit of height {factors(scene)[2] * scale:.6g}"
    written[:80] = words.encode("ascii", "replace")[:80].ljust(80)
    path.write_bytes(bytes(written))
