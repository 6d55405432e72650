/** What does a relief show, and is it the same surface as before? */

import type { Overlay } from "./data";
import type { Field } from "./field";
import type { Colours, Tint } from "./paint";
import type { Shown } from "./ranges";

export interface Drawing {
  field: Field;
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
  dark: boolean;
  contours: boolean;
  points: boolean;
  floor: boolean;
  smooth: boolean;
  time: number | null;
  /** Regions that the surface and the floor are tinted by. */
  tints: Tint[];
}

/** Whether two drawings have the same surface, so that only what lies upon it differs. */
export function alike(a: Drawing, b: Drawing): boolean {
  const named = ["shown", "palette", "depth", "ink", "faint", "contours", "floor", "smooth"] as const;
  const same = a.field.block === b.field.block && a.field.value === b.field.value && a.field.layer === b.field.layer;
  const tints = a.tints.length === b.tints.length && a.tints.every((one, n) => one.cells === b.tints[n]!.cells);
  return same && tints && named.every((name) => a[name] === b[name]) && String(a.limits) === String(b.limits);
}
