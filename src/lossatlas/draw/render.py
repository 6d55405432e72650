"""How a relief is rendered by VTK: soft light, occlusion in the hollows, a raster for covers and talks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossatlas import extras
from lossatlas.draw import relief, rim
from lossatlas.draw.mesh_overlays import cone
from lossatlas.draw.scene import RELIEF_HEIGHT, Cells, Scene
from lossatlas.draw.static_maps import band_colours, band_levels
from lossatlas.draw.static_overlays import colour, dense, lifted
from lossatlas.errors import SpecError
from lossatlas.figure.overlays import Path, Points, Regions
from lossatlas.figure.palettes import rgb
from lossatlas.oneline import one_line

__all__ = ["Projection", "Render", "Stage"]

# How many vertices lie along an axis per pixel of the picture's width, and at most: more cannot be seen.
_DENSITY, _FLOOR_DENSITY, _MOST = 0.45, 0.65, 600


@dataclass(frozen=True, kw_only=True)
class Render:
    """How a rendered relief is made.

    Attributes:
        words: set the rendered relief into the usual page, with axes, titles, colour bar and caption; otherwise the
            picture is just the relief, for a cover.
        transparent: make the background transparent (png).
        floor: draw the contour map below the surface.
        width: of the relief alone, in pixels; a page has the width of its view.
    """

    words: bool = True
    transparent: bool = False
    floor: bool = True
    width: int = 1600

    def __post_init__(self) -> None:
        if not 100 <= self.width <= 10_000:
            raise SpecError(f"width={self.width}: expected 100 to 10000 pixels")


@dataclass(frozen=True, kw_only=True)
class Projection:
    """What a parallel projection shows of the box of a relief.

    Attributes:
        camera: elevation and azimuth of the eye, in degrees.
        low: float64 [2], left and lower end, in widths of the box, from where its near corner x = y = z = 0 falls.
        high: float64 [2], right and upper end.
    """

    camera: tuple[float, float]
    low: np.ndarray
    high: np.ndarray

    __repr__ = one_line

    @property
    def frame(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Unit vectors to the right, up, and towards the eye."""
        elevation, azimuth = np.radians(self.camera)
        ahead = np.array(
            [math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth), math.sin(elevation)]
        )
        right = np.array([-math.sin(azimuth), math.cos(azimuth), 0.0])
        return right, np.cross(ahead, right), ahead


class Stage:
    """One relief, set up once and viewed from anywhere.

    Args:
        scene: what is drawn.
        number: which of its panels.
        how: what is in the picture.
        floor: depth of the map below the surface, in parts of the surface's height.
        pixels: width and height of a picture.

    Raises:
        MissingExtraError: pyvista is not installed; the message has the command that installs it.
    """

    def __init__(self, scene: Scene, number: int, how: Render, *, floor: float, pixels: tuple[int, int]) -> None:
        self._pyvista = extras.require("pyvista", extra="mesh", purpose="render a relief")
        # Without a screen, VTK finds another way by itself, and says so on stderr.
        with self._pyvista.vtk_verbosity("off"):
            # Twice the size, then the mean of four pixels: smooth edges, even against a transparent background.
            size = (2 * pixels[0], 2 * pixels[1])
            self._plotter = self._pyvista.Plotter(off_screen=True, window_size=size, lighting="none")
            box = _Box(scene, scene.panels[number], floor)
            self._lines = _surface(self._pyvista, self._plotter, box, along=_vertices(pixels, _DENSITY))
            if how.floor:
                _map(self._pyvista, self._plotter, box, along=_vertices(pixels, _FLOOR_DENSITY))
            _overlays(self._pyvista, self._plotter, box, number, floor=how.floor)
            self._plotter.enable_ssao(radius=0.12, bias=0.022, kernel_size=64, blur=True)

    def picture(self, view: Projection) -> np.ndarray:
        """What is seen, uint8 [height, width, 4], transparent where there is nothing."""
        pyvista, plotter = self._pyvista, self._plotter
        with pyvista.vtk_verbosity("off"):
            plotter.remove_all_lights()
            _light(pyvista, plotter, view)
            # A hair's breadth towards the eye, or half of each line would be inside the surface.
            lines = self._lines + 0.0025 * view.frame[2]
            actor = _drawn_lines(pyvista, plotter, lines, "#101018", 2.2, opacity=0.7)
            _aim(plotter, view)
            plotter.render()
            image = np.asarray(plotter.screenshot(return_img=True, transparent_background=False))[..., :3]
            covered = _covered(plotter)
            if actor is not None:
                plotter.remove_actor(actor, render=False)
        return _reduced(image, covered)

    def close(self) -> None:
        """Free what the window holds."""
        self._plotter.close()


def _covered(plotter: Any) -> np.ndarray:
    """Which pixels show something, bool [height, width]; pyvista's own reading of depths renders the picture again."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkRenderingCore import vtkWindowToImageFilter

    reading = vtkWindowToImageFilter()
    reading.SetInput(plotter.render_window)
    reading.ReadFrontBufferOff()
    reading.SetInputBufferTypeToZBuffer()
    reading.ShouldRerenderOff()
    reading.Update()
    found = reading.GetOutput()
    width, height, _ = found.GetDimensions()
    depths: np.ndarray = vtk_to_numpy(found.GetPointData().GetScalars())  # type: ignore[no-untyped-call]
    return np.asarray(depths.reshape(height, width)[::-1] < 1.0)


def _vertices(pixels: tuple[int, int], density: float) -> int:
    return max(60, min(_MOST, round(density * pixels[0])))


class _Box:
    """The surface of a panel in a box of width and depth 1 whose floor is at z = 0."""

    def __init__(self, scene: Scene, panel: Cells, floor: float) -> None:
        self.scene, self.panel = scene, panel
        self.depth = floor * RELIEF_HEIGHT
        self.bottom, self.top = scene.range.limits
        self.heights = panel.heights(scene.value, scene.range, beyond=1.0)
        self._low = np.array([scene.limits[axis.name][0] for axis in panel.axes])
        self._size = np.array([scene.limits[axis.name][1] for axis in panel.axes]) - self._low

    def refined(self, heights: np.ndarray, along: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x, y = (axis.coordinates for axis in self.panel.axes)
        fine_x, fine_y, fine = rim.refined(x, y, heights, max(1, round(along / max(len(x), len(y)))))
        return (fine_x - self._low[0]) / self._size[0], (fine_y - self._low[1]) / self._size[1], fine

    def z(self, heights: np.ndarray) -> np.ndarray:
        return self.depth + (heights - self.bottom) / (self.top - self.bottom) * RELIEF_HEIGHT

    def at(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        flat = (np.column_stack([x, y]) - self._low) / self._size
        return np.column_stack([flat, z])


def _surface(pyvista: Any, plotter: Any, box: _Box, *, along: int) -> np.ndarray:
    """Put the surface on the stage and return the pieces of the contour lines on it."""
    x, y, fine = box.refined(box.heights, along)
    made = rim.surface(x, y, box.z(fine), top=float(box.z(np.array(box.top))))
    nothing = np.zeros((0, 2, 3))
    if not len(made.triangles):
        return nothing
    mesh = pyvista.PolyData.from_regular_faces(made.points, made.triangles)
    mesh.point_data["Normals"] = made.carry(relief.vertex_normals(x, y, box.z(fine)))
    mesh.point_data.active_normals_name = "Normals"
    shares = (made.points[:, 2] - box.depth) / RELIEF_HEIGHT
    mesh.point_data["colours"] = np.round(255 * rgb(shares, box.scene.colours)).astype(np.uint8)
    style = {"ambient": 0.42, "diffuse": 0.66, "specular": 0.16, "specular_power": 22}
    plotter.add_mesh(mesh, scalars="colours", rgb=True, smooth_shading=True, **style)
    if not box.scene.shows_contours:
        return nothing
    levels = box.z(box.scene.range.heights(np.asarray(box.scene.range.levels)))
    inside = levels[(levels > box.depth) & (levels < box.depth + RELIEF_HEIGHT)]
    return relief.contour_lines(made.points[made.triangles], inside)


def _drawn_lines(
    pyvista: Any, plotter: Any, pieces: np.ndarray, shade: str, width: float, opacity: float = 1.0
) -> Any | None:
    if not len(pieces):
        return None
    cells = np.column_stack([np.full(len(pieces), 2), np.arange(2 * len(pieces)).reshape(-1, 2)])
    mesh = pyvista.PolyData(pieces.reshape(-1, 3), lines=cells.ravel())
    return plotter.add_mesh(mesh, color=shade, line_width=width, opacity=opacity, lighting=False, render=False)


def _map(pyvista: Any, plotter: Any, box: _Box, *, along: int) -> None:
    """The contour map on the floor, in the bands of the printed one."""
    shown = box.panel.heights(box.scene.value, box.scene.range)
    x, y, fine = box.refined(shown, along)
    made = rim.surface(x, y, fine)
    if not len(made.triangles):
        return
    levels = band_levels(box.scene)
    bands = np.clip(np.digitize(made.points[:, 2], levels) - 1, 0, len(levels) - 2)
    points = made.points * [1.0, 1.0, 0.0]
    mesh = pyvista.PolyData.from_regular_faces(points, made.triangles)
    mesh.point_data["colours"] = np.round(255 * band_colours(box.scene, levels)[bands]).astype(np.uint8)
    plotter.add_mesh(mesh, scalars="colours", rgb=True, lighting=False)


def _overlays(pyvista: Any, plotter: Any, box: _Box, number: int, *, floor: bool) -> None:
    """Paths as tubes and points as balls on the surface, and again on the map."""
    for index, overlay in enumerate(box.scene.overlays):
        if overlay.panel not in (None, number) or isinstance(overlay, Regions):
            continue
        shade = colour(box.scene, index)
        x, y, heights = lifted(box.panel, box.heights, *dense(overlay))
        levels = [box.z(heights)] + ([np.full(len(x), 0.004)] if floor else [])
        for z in levels:
            places = box.at(x, y, z)
            places = places[np.isfinite(places).all(axis=1) & (z <= box.depth + RELIEF_HEIGHT + 1e-9)]
            if isinstance(overlay, Path) and len(places) > 1:
                plotter.add_mesh(pyvista.lines_from_points(places).tube(radius=0.005), color=shade, ambient=0.4)
                for end, fill in ((0, "white"), (-1, shade)) if overlay.dots else ():
                    plotter.add_mesh(pyvista.Sphere(radius=0.011, center=places[end]), color=fill, ambient=0.4)
                for head in overlay.heads:
                    _arrow(pyvista, plotter, box, head, shade, None if z is levels[0] else z)
            elif isinstance(overlay, Points):
                for place in places:
                    plotter.add_mesh(pyvista.Sphere(radius=0.012, center=place), color=shade, ambient=0.4)
    if box.panel.marks_centre and floor:
        centre = box.at(np.zeros(1), np.zeros(1), np.array([0.004]))[0]
        for way in (np.array([0.022, 0, 0]), np.array([0, 0.022, 0])):
            plotter.add_mesh(
                pyvista.Line(centre - way, centre + way).tube(radius=0.0032), color="white", lighting=False
            )


def _arrow(pyvista: Any, plotter: Any, box: _Box, head: np.ndarray, shade: str, floor: np.ndarray | None) -> None:
    """The head of an arrow as a cone, on the map, or where the surface is seen."""
    x, y, heights = lifted(box.panel, box.heights, *head.T)
    z = box.z(heights) if floor is None else floor[:2]
    ends = box.at(x, y, z)
    if np.isfinite(ends).all() and (z <= box.depth + RELIEF_HEIGHT + 1e-9).all():
        shape = pyvista.PolyData.from_regular_faces(*cone(ends, 0.005))
        plotter.add_mesh(shape, color=shade, ambient=0.4)


def _light(pyvista: Any, plotter: Any, view: Projection) -> None:
    """One soft light from the left of the eye and above, a weak one from the other side."""
    for turn, altitude, strength in ((-relief.LEFT_OF_EYE, relief.ALTITUDE, 0.92), (65.0, 30.0, 0.30)):
        azimuth, high = math.radians(view.camera[1] + turn), math.radians(altitude)
        at = (math.cos(high) * math.cos(azimuth), math.cos(high) * math.sin(azimuth), math.sin(high))
        lamp = pyvista.Light(position=at, focal_point=(0, 0, 0), intensity=strength, light_type="scene light")
        lamp.positional = False
        plotter.add_light(lamp)


def _aim(plotter: Any, view: Projection) -> None:
    right, up, ahead = view.frame
    middle = (view.low + view.high) / 2
    focus = middle[0] * right + middle[1] * up
    plotter.camera_position = [tuple(focus + 6 * ahead), tuple(focus), tuple(up)]
    plotter.enable_parallel_projection()
    plotter.camera.parallel_scale = float(view.high[1] - view.low[1]) / 2
    plotter.camera.clipping_range = (0.1, 12.0)


def _reduced(image: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Half the size, with the share of each pixel that is covered as its opacity."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    weight = there.astype(float).reshape(height, 2, width, 2)
    covered = weight.sum(axis=(1, 3))
    colours = (image.astype(float).reshape(height, 2, width, 2, 3) * weight[..., None]).sum(axis=(1, 3))
    mean = colours / np.maximum(covered, 1)[..., None]
    return np.round(np.concatenate([mean, 255 * covered[..., None] / 4], axis=-1)).astype(np.uint8)
