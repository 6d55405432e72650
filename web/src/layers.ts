/** What else can be drawn over the same plane? The known errors of each value, and regions such as basins. */

import type { Block, Content, Layer, Look, Numbers, Overlay, Places, Regions } from "./data";
import { between, number } from "./ranges";
import { RATIO, ratioUpon, ratioWords } from "./ratio";
import type { State } from "./state";

/** Of a layer whose regions are few and known; those of others are the content's. */
const COLOURS: Record<string, string[]> = { ruggedness: ["#ff8a5c", "#c2002f"] };

/** The layers that any panel has, by name. */
export function named(content: Content): string[] {
  return [...new Set(content.blocks.flatMap((block) => [...(block.layers ?? []).map((one) => one.name), ...(block.ratio ? [RATIO] : [])]))];
}

/** The layers of a panel that are shown. */
export function seen(block: Block, state: State): Layer[] {
  return (block.layers ?? []).filter((one) => state.tints.includes(one.name));
}

export function colourOf(content: Content, layer: Layer, region: number): string {
  const colours = COLOURS[layer.name] ?? content.regions;
  return colours[region % colours.length]!;
}

/** The colours of single places, by what they are. */
export const MARKS: Record<string, string> = { minimum: "#ffffff", saddle: "#ff8ad1" };

const made = new WeakMap<Layer, Overlay[]>();

/** The same objects each time, so that nothing is drawn twice. */
function upon(layer: Layer, panel: number): Overlay[] {
  const known = made.get(layer);
  if (known?.every((one) => one.panel === panel)) return known;
  const data = Float64Array.from(layer.cells.data, (region) => (region === 255 ? -1 : region));
  const regions: Regions = { kind: "regions", panel, label: "", cells: { shape: layer.cells.shape, data }, ...(COLOURS[layer.name] && { colours: COLOURS[layer.name]! }) };
  const places = layer.marks.map((mark): Places => ({ ...mark, kind: "points", panel, label: "", colour: MARKS[mark.label] ?? "#ffffff" }));
  const parted = layer.regions.length > 1; // a single region separates nothing, and would only dull the colours
  const found = [...(parted ? [regions] : []), ...places];
  made.set(layer, found);
  return found;
}

/** The content, with the layers that are shown below all that lies on its panels. */
export function tinted(content: Content, state: State): Content {
  const below = content.blocks.flatMap((block, panel) => [...(block.ratio && state.tints.includes(RATIO) ? [ratioUpon(content, block, panel)] : []), ...seen(block, state).flatMap((one) => upon(one, panel))]);
  return below.length ? { ...content, overlays: [...below, ...content.overlays] } : content;
}

/** Which region of each layer a cell lies in, in words. */
export function inWords(block: Block, state: State, i: number, j: number): string[] {
  const regions = seen(block, state).filter((one) => one.regions.length).map((one) => one.regions[one.cells.data[j * block.axes[0]!.coordinates.length + i]!] ?? `${one.name}: in no region`);
  return block.ratio && state.tints.includes(RATIO) ? [...regions, ratioWords(block, block.ratio, i, j)] : regions;
}

export function range(rows: Float64Array[], log: boolean, label: string): Look {
  let [low, high, least] = [Infinity, -Infinity, Infinity];
  for (const row of rows)
    for (const value of row) {
      if (!Number.isFinite(value)) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
      if (value > 0) least = Math.min(least, value);
    }
  const scale = log && low > 0 ? "log" : "linear";
  if (!(high > low)) [low, high] = Number.isFinite(low) ? [low - 0.5, low + 0.5] : [0, 1];
  const base: Look = { scale, linear_below: null, low, high, bottom: low, top: high, levels: [], ticks: [], labels: [], clipped: false, words: "" };
  return { ...between(base, low, high, `${label} from ${number(low, 4)} to ${number(high, 4)}, ${scale === "log" ? "logarithmic" : "linear"} scale.`), clipped: false };
}

/** The content with every error that all panels have as a layer: "loss: standard error". */
export function layered(content: Content): Content {
  const [first] = content.blocks;
  if (!first) return { ...content, layers: [] };
  const found: [string, string, string][] = [];
  for (const value of content.values)
    for (const words of Object.keys(first.errors[value] ?? {}))
      if (content.blocks.every((block) => block.errors[value]?.[words])) found.push([`${value}: ${words}`, value, words]);
  if (!found.length) return { ...content, layers: [] };
  const blocks = content.blocks.map((block) => {
    const added = found.map(([name, value, words]): [string, Numbers] => [name, block.errors[value]![words]!]);
    return { ...block, values: { ...block.values, ...Object.fromEntries(added) } };
  });
  const looks = { ...content.looks };
  const colours = { ...content.colours };
  for (const [name] of found) {
    colours[name] = "cividis";
    for (const scale of ["linear", "log"] as const) {
      const look = range(blocks.map((block) => block.values[name]!.data), scale === "log", name);
      for (const clip of ["clip", "whole"]) looks[`${scale}|${clip}|${name}`] = look;
    }
  }
  return { ...content, blocks, looks, colours, layers: found.map(([name]) => name) };
}
