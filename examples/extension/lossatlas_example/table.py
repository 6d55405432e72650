"""A renderer: the values of a scene as a table, ``lossatlas draw runs/a -o a.csv``."""

import csv
import itertools

from lossatlas.errors import SpecError


def check(scene, suffix):
    """Refuse whatever has no table, before a file is made."""
    if not scene.panels:
        raise SpecError(f"a {suffix} file holds a plane; draw a result with two axes")


def write(scene, path):
    """Write a line for each cell: its coordinates, its values, its status."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        names = [*scene.panels[0].values]
        rows.writerow(["title", *(axis.name for axis in scene.panels[0].axes), *names, "status"])
        for panel in scene.panels:
            places = itertools.product(*(enumerate(axis.coordinates.tolist()) for axis in panel.axes))
            for place in places:
                at = tuple(index for index, _ in place)
                values = [panel.values[name][at] for name in names]
                rows.writerow([panel.title, *(x for _, x in place), *values, panel.status[at]])
