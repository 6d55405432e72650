/** What lies between landscapes on one grid? Their difference, or a mixture of two: computed from their values, not measured. */

import type { Block, Content, Look, Numbers } from "./data";
import { between, number } from "./ranges";
import type { State } from "./state";

const HAS_VALUES = new Set([1, 2, 5]);

/** Pairs of panels whose axes have the same coordinates. */
export function comparable(content: Content): boolean {
  const [first, ...rest] = content.blocks;
  if (!first || !rest.length) return false;
  return rest.every((block) => block.axes.length === first.axes.length && block.axes.every((axis, n) => {
    const other = first.axes[n]!.coordinates;
    return axis.coordinates.length === other.length && axis.coordinates.every((c, k) => c === other[k]);
  }));
}

function mixed(a: Block, b: Block, title: string, values: string[], mix: (one: number, two: number) => number): Block {
  const made: Record<string, Numbers> = {};
  const known = (block: Block, n: number): boolean => HAS_VALUES.has(block.status.data[n]!);
  for (const value of values) {
    const [one, two] = [a.values[value]!, b.values[value]!];
    made[value] = { shape: one.shape, data: one.data.map((x, n) => (known(a, n) && known(b, n) ? mix(x, two.data[n]!) : NaN)) };
  }
  const status = a.status.data.map((one, n) => (known(a, n) ? (known(b, n) ? (one === 5 || b.status.data[n] === 5 ? 5 : 1) : b.status.data[n]!) : one));
  return { ...a, title, note: "", status: { shape: a.status.shape, data: status }, values: made, errors: {}, layers: [], centre: a.centre && b.centre };
}

/** Symmetric around zero, so that white is "no difference". */
function around(values: Float64Array, words: string): Look {
  let most = 0;
  for (const value of values) if (Number.isFinite(value)) most = Math.max(most, Math.abs(value));
  const base = { scale: "linear", linear_below: null, low: -1, high: 1, bottom: -1, top: 1, levels: [], ticks: [], labels: [], clipped: false, words } satisfies Look;
  return { ...between(base, -(most || 1), most || 1, words), clipped: false };
}

/** The content with one panel in place of all: b − a, or a mixture on the way from a to b. */
export function derived(content: Content, state: State): Content {
  const { derive, first, second, part } = state;
  const [a, b] = [content.blocks[first], content.blocks[second]];
  if (derive === "side by side" || !a || !b || !comparable(content)) return content;
  if (!content.values.includes(state.value)) return content;
  const overlays = content.overlays.filter((one) => one.panel === null);
  if (derive === "morph") {
    const title = `${number(100 * (1 - part), 3)} % ${a.title}, ${number(100 * part, 3)} % ${b.title}`;
    const block = mixed(a, b, title, content.values, (one, two) => one + part * (two - one));
    return { ...content, blocks: [block], overlays, facts: [], caption: {} };
  }
  const block = mixed(a, b, `${b.title} − ${a.title}`, content.values, (one, two) => two - one);
  const looks: Record<string, Look> = {};
  for (const value of content.values) {
    const look = around(block.values[value]!.data, `Difference of ${value}: ${b.title} minus ${a.title}, cell by cell, on a linear scale around zero.`);
    for (const scale of ["linear", "log"]) for (const clip of ["clip", "whole"]) looks[`${scale}|${clip}|${value}`] = look;
  }
  const colours = Object.fromEntries(content.values.map((value) => [value, "diverging"]));
  return { ...content, blocks: [block], overlays, looks, first: looks[`linear|whole|${content.value}`]!, log: false, clip: false, colours, facts: [], caption: {} };
}

/** The limits of a single panel, if axes are not shared. */
export function alone(content: Content, index: number): Content {
  const block = content.blocks[index]!;
  const limits = Object.fromEntries(block.axes.map((axis): [string, [number, number]] => [axis.name, [axis.coordinates[0]!, axis.coordinates[axis.coordinates.length - 1]!]]));
  return { ...content, limits };
}
