/** How does a page follow growing content without a jump? What is unchanged stays the same object, and paths glide to their new places. */

import type { Block, Content, Way } from "./data";
import { unsampled } from "./field";

function equal(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let n = 0; n < a.length; n++) if (!Object.is(a[n], b[n])) return false;
  return true;
}

function same(a: Block, b: Block): boolean {
  return (
    a.axes.length === b.axes.length && a.title === b.title && a.axes.every((axis, n) => equal(axis.coordinates, b.axes[n]!.coordinates)) &&
    equal(a.status.data, b.status.data) && Object.keys(b.values).every((value) => a.values[value] && equal(a.values[value].data, b.values[value]!.data))
  );
}

/** The next content, with the blocks and ranges of the last one where they are equal, so that nothing is drawn twice. */
export function kept(old: Content | null, next: Content): Content {
  if (!old) return next;
  const blocks = next.blocks.map((block, n) => (old.blocks[n] && same(old.blocks[n], block) ? old.blocks[n] : block));
  const whole = blocks.length === old.blocks.length && blocks.every((block, n) => block === old.blocks[n]);
  const first = JSON.stringify(old.first) === JSON.stringify(next.first) ? old.first : next.first;
  return { ...next, blocks: whole ? old.blocks : blocks, first, looks: whole && first === old.first ? old.looks : next.looks };
}

const mixed = (a: number, b: number, part: number): number => a + part * (b - a);

/** A path on its way from where it was drawn to where it lies now; its new points come out of the last old one. */
export function between(old: Content, next: Content, part: number): Content {
  const overlays = next.overlays.map((one, n) => {
    const before = old.overlays[n];
    if (one.kind !== "path" || before?.kind !== "path" || !before.x.length) return one;
    const last = before.x.length - 1;
    const moved = (axis: "x" | "y"): Float64Array => one[axis].map((value, k) => mixed(before[axis][Math.min(k, last)]!, value, part));
    return { ...one, x: moved("x"), y: moved("y") } satisfies Way;
  });
  const bare = next.blocks.every(unsampled);
  const limits = Object.fromEntries(Object.entries(next.limits).map(([name, [low, high]]): [string, [number, number]] => {
    const from = old.limits[name];
    return [name, bare && from ? [mixed(from[0], low, part), mixed(from[1], high, part)] : [low, high]];
  }));
  return { ...next, overlays, limits };
}

/** Whether anything of a path moves between two contents, on one surface. */
export function glides(old: Content | null, next: Content): old is Content {
  if (!old || matchMedia("(prefers-reduced-motion: reduce)").matches || document.hidden) return false;
  return old.blocks.length === next.blocks.length && next.overlays.some((one) => one.kind === "path") && old.overlays.length === next.overlays.length;
}
