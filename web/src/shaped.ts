/** What is the surface of a field, and where do its contour lines run? Made once for all pictures of it. */

import type { Block } from "./data";
import type { Field } from "./field";
import { contours, refined, surface, type Grid, type Surface } from "./mesh";
import { heights } from "./paint";
import type { Shown } from "./ranges";

export interface Shaped {
  /** With more points between those of a small grid. */
  fine: Grid;
  made: Surface;
  /** Those of each level, as contours gives them. */
  lines: Float32Array[];
}

/** Points along an axis of a small grid after refinement. */
const FINE = 200;

function* work(field: Field, shown: Shown, smooth: boolean): Generator<void, Shaped> {
  const times = smooth ? Math.max(1, Math.round(FINE / Math.max(field.nx, field.ny))) : 1;
  const fine = yield* refined({ x: field.x, y: field.y, z: heights(field, shown, 1) }, times);
  yield;
  const made = yield* surface(fine, shown.top);
  yield;
  return { fine, made, lines: yield* contours(made, shown.levels) };
}

interface Known {
  under: Generator<void, Shaped>;
  found: Shaped | null;
}

const all = new WeakMap<Shown, WeakMap<Block, Map<string, Known>>>();

/** The same as before if it is known; if it is being made for another picture, both share it. */
export function* shaped(field: Field, shown: Shown, smooth: boolean): Generator<void, Shaped> {
  const blocks = all.get(shown) ?? new WeakMap<Block, Map<string, Known>>();
  all.set(shown, blocks);
  const values = blocks.get(field.block) ?? new Map<string, Known>();
  blocks.set(field.block, values);
  const name = `${field.layer} ${smooth} ${field.value}`;
  let known = values.get(name);
  if (!known) values.set(name, (known = { under: work(field, shown, smooth), found: null }));
  while (!known.found) {
    const step = known.under.next();
    if (step.done) known.found = step.value;
    else yield;
  }
  return known.found;
}
