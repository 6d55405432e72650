/** What else can be drawn over the same plane? The errors that are known of each value, as values of their own. */

import type { Content, Look, Numbers } from "./data";
import { between, number } from "./ranges";

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

/** The content with every error that all panels know as a layer: "loss: standard error". */
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
