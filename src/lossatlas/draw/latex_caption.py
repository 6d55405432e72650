"""How is the caption of a picture written in LaTeX?"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

__all__ = ["escaped", "write"]

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "−": r"\ensuremath{-}", "×": r"\ensuremath{\times}", "·": r"\ensuremath{\cdot}", "→": r"\ensuremath{\to}",
    "≈": r"\ensuremath{\approx}", "≤": r"\ensuremath{\leq}", "≥": r"\ensuremath{\geq}", "±": r"\ensuremath{\pm}",
    "…": r"\ldots{}", "λ": r"\ensuremath{\lambda}", "θ": r"\ensuremath{\theta}", "α": r"\ensuremath{\alpha}",
    "β": r"\ensuremath{\beta}", "δ": r"\ensuremath{\delta}", "η": r"\ensuremath{\eta}", "\u00a0": "~",
}  # fmt: skip
_RAISED = dict(zip("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789", strict=True))


class _Said(Protocol):
    @property
    def title(self) -> str:
        """Heading."""
        ...

    @property
    def sentences(self) -> tuple[str, ...]:
        """The caption."""
        ...


def escaped(text: str) -> str:
    r"""Text as LaTeX prints it.

    Returns:
        LaTeX for a paragraph, for any engine.

    Example:
        >>> print(escaped("loss_a from 3.2×10⁻⁷, 50 % above"))
        loss\_a from 3.2\ensuremath{\times}10\ensuremath{^{-7}}, 50~\% above
    """
    plain = "".join(_SPECIAL.get(letter, letter) for letter in text.replace(" %", "\u00a0%"))
    return re.sub(
        f"[{''.join(_RAISED)}]+",
        lambda found: rf"\ensuremath{{^{{{''.join(_RAISED[one] for one in found[0])}}}}}",
        plain,
    )


def write(page: _Said, path: Path, name: str) -> None:
    """Write caption and label of a picture.

    Args:
        page: what is drawn.
        path: the file.
        name: of the picture, for its label.
    """
    words = " ".join(escaped(part) for part in (page.title and f"{page.title}.", *page.sentences) if part)
    label = re.sub(r"[^A-Za-z0-9.:-]+", "-", name)
    path.write_text(f"\\caption{{{words}}}\n\\label{{fig:{label}}}\n", encoding="utf-8")
