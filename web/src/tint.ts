/** How are regions shown on a relief? Their colours blended into those of its surface, and their borders as lines. */

import type { Group } from "three";
import { inside, type Field } from "./field";
import type { Grid } from "./mesh";
import { borders, tintOf, type Tint } from "./paint";
import { pieces } from "./shapes";

/** The share of its region's colour in a colour of the surface. */
const SHARE = 0.45;
/** Parts of the border of one cell, so that it follows the surface. */
const PARTS = 4;

type Colour = [number, number, number];

/** The colour of the surface at a place, tinted. */
export function tinting(field: Field, tints: Tint[]): (colour: Colour, x: number, y: number) => Colour {
  const near = (coordinates: Float64Array, value: number): number => {
    const [n, part] = inside(coordinates, value);
    return part < 0.5 ? n : n + 1;
  };
  return (colour, x, y) => {
    if (!tints.length) return colour;
    const cell = near(field.y, y) * field.nx + near(field.x, x);
    return tints.reduce((below, tint) => {
      const found = tintOf(tint, cell);
      if (found === null) return below;
      return [1, 3, 5].map((at, k) => below[k]! + (tint.plain ? 1 : SHARE) * (parseInt(found.slice(at, at + 2), 16) - below[k]!)) as Colour;
    }, colour);
  };
}

/** The height of a fine grid between its points; NaN outside and beside what is not there. */
function level(grid: Grid, x: number, y: number): number {
  const [[i, a], [j, b]] = [inside(grid.x, x), inside(grid.y, y)];
  const wide = grid.x.length;
  const at = (u: number, v: number, share: number): number => (share === 0 ? 0 : share * grid.z[(j + v) * wide + i + u]!);
  return at(0, 0, (1 - a) * (1 - b)) + at(1, 0, a * (1 - b)) + at(0, 1, (1 - a) * b) + at(1, 1, a * b);
}

export function addBorders(into: Group, field: Field, tint: Tint, fine: Grid, top: number, placed: (points: number[]) => Float32Array): void {
  if (tint.plain) return;
  const flat = borders(field, tint);
  const found: number[] = [];
  for (let n = 0; n < flat.length; n += 4) {
    const [x0, y0, x1, y1] = flat.slice(n, n + 4) as [number, number, number, number];
    for (let k = 0; k < PARTS; k++) {
      const ends = [k / PARTS, (k + 1) / PARTS].flatMap((part) => {
        const [x, y] = [x0 + part * (x1 - x0), y0 + part * (y1 - y0)];
        return [x, y, level(fine, x, y)];
      });
      if (ends[2]! <= top && ends[5]! <= top) found.push(...ends);
    }
  }
  if (found.length) into.add(pieces(placed(found), "#000000", 0.85));
}
