/** What does a relief show, is it the same surface as before, and where in its box does a place lie? */

import type { Overlay } from "./data";
import type { Field } from "./field";
import type { Grid } from "./mesh";
import type { Colours, Tint } from "./paint";
import type { Shown } from "./ranges";
import type { Shaped } from "./shaped";

export interface Drawing {
  field: Field;
  /** Its surface and contour lines, which are those of the map. */
  shape: () => Generator<void, Shaped>;
  shown: Shown;
  colours: Colours;
  /** The name of the colours. */
  palette: string;
  overlays: Overlay[];
  limits: [[number, number], [number, number]];
  /** Depth of the box in parts of its width; the larger of both is 1. */
  depth: number;
  ink: string;
  faint: string;
  contours: boolean;
  points: boolean;
  floor: boolean;
  smooth: boolean;
  time: number | null;
  /** Regions that the surface and the floor are tinted by. */
  tints: Tint[];
}

/** Whether two drawings have the same surface, so that only what lies on it differs. */
export function alike(a: Drawing, b: Drawing): boolean {
  const named = ["shown", "palette", "depth", "ink", "faint", "contours", "floor", "smooth"] as const;
  const same = a.field.block === b.field.block && a.field.value === b.field.value && a.field.layer === b.field.layer;
  const tints = a.tints.length === b.tints.length && a.tints.every((one, n) => one.cells === b.tints[n]!.cells);
  return same && tints && named.every((name) => a[name] === b[name]) && String(a.limits) === String(b.limits);
}

/** Height of the box in parts of its width, as RELIEF_HEIGHT in draw/scene.py; the floor lies below it. */
export const TALL = 0.6;
export const FLOOR = 0.22;

/** The box of a relief: x and y around 0, the larger of width and depth 1; z from 0 to TALL. */
export class Box {
  /** Width and depth. */
  readonly sides: [number, number];

  constructor(private readonly drawing: Pick<Drawing, "limits" | "shown" | "depth">) {
    this.sides = [Math.min(1, 1 / drawing.depth), Math.min(1, drawing.depth)];
  }

  /** What a coordinate is multiplied by along each axis, and what is then added. */
  private get steps(): [number, number, number, number, number, number] {
    const { limits, shown } = this.drawing;
    const [wide, deep] = this.sides;
    const [[x0, x1], [y0, y1]] = limits;
    const [sx, sy, sz] = [wide / (x1 - x0), deep / (y1 - y0), TALL / (shown.top - shown.bottom || 1)];
    return [sx, sy, sz, -x0 * sx - wide / 2, -y0 * sy - deep / 2, -shown.bottom * sz];
  }

  at(x: number, y: number, z: number): [number, number, number] {
    const [sx, sy, sz, ax, ay, az] = this.steps;
    return [x * sx + ax, y * sy + ay, z * sz + az];
  }

  placed(points: ArrayLike<number>, lift = 0): Float32Array {
    const [sx, sy, sz, ax, ay, az] = this.steps;
    const out = new Float32Array(points.length);
    for (let n = 0; n < out.length; n += 3) {
      out[n] = points[n]! * sx + ax;
      out[n + 1] = points[n + 1]! * sy + ay;
      out[n + 2] = points[n + 2]! * sz + az + lift;
    }
    return out;
  }

  scaled(grid: Grid): Grid {
    const [sx, sy, sz, ax, ay, az] = this.steps;
    return { x: grid.x.map((one) => one * sx + ax), y: grid.y.map((one) => one * sy + ay), z: grid.z.map((one) => one * sz + az) };
  }
}
