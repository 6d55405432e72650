"""What is a figure that a notebook shows without being asked to?"""

from __future__ import annotations

import io

from matplotlib.figure import Figure

__all__ = ["Picture"]


class Picture(Figure):
    """A matplotlib figure that belongs to no window, and shows itself as the last line of a cell."""

    def _repr_png_(self) -> bytes:
        """What a notebook asks for."""
        drawn = io.BytesIO()
        self.savefig(drawn, format="png", dpi=min(self.dpi, 150))
        return drawn.getvalue()
