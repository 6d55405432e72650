/** Do difference, morph, gliding paths, layers and the style of a notebook follow from what they are made of? */
import { afterEach, describe, expect, it, vi } from "vitest";
import type { Block, Content, Way } from "../src/data";
import { comparable, derived } from "../src/derive";
import { between, glides, kept } from "../src/glide";
import { Field } from "../src/field";
import { layered, tinted } from "../src/layers";
import { thinned } from "../src/mesh";
import { scoped } from "../src/notebook";
import { borders, tintOf } from "../src/paint";
import { parted } from "../src/provenance";
import { drops } from "../src/route";
import { csv, zipped } from "../src/save";
import { begin, unit, type State } from "../src/state";
import { heads } from "../src/way";

const axis = (name: string, coordinates: number[]) => ({ name, label: name, coordinates: Float64Array.from(coordinates), length: 1, counted: "multiples of the direction" });

function block(title: string, values: number[], status = values.map(() => 1)): Block {
  return {
    title, note: "", axes: [axis("x", [0, 1]), axis("y", [0, 1])], centre: false, status: { shape: [1, 2, 2], data: Uint8Array.from(status) },
    values: { loss: { shape: [1, 2, 2], data: Float64Array.from(values) } }, errors: { loss: { "standard error": { shape: [1, 2, 2], data: Float64Array.from([1, 2, 3, 4]) } } },
  };
}

const way = (x: number[]): Way => ({ kind: "path", panel: null, label: "", x: Float64Array.from(x), y: Float64Array.from(x), words: x.map(() => ""), colour: "#000", dots: true, arrows: [], along: {} });

function content(blocks: Block[], overlays: Way[] = []): Content {
  const first = { scale: "linear", low: 0, high: 1, linear_below: null, bottom: 0, top: 1, levels: [], ticks: [], labels: [], clipped: false, words: "" } as const;
  return { value: "loss", values: ["loss"], blocks, overlays, first, looks: {}, colours: {}, limits: { x: [0, 1], y: [0, 1] }, curves: [], theme: "light" } as unknown as Content;
}

const numbers = (made: Content): number[] => [...made.blocks[0]!.values["loss"]!.data];
const state = (given: Content, what: Partial<State>): State => ({ ...begin(given), ...what });

describe("what is made of two landscapes", () => {
  const two = content([block("a", [1, 2, 3, 4]), block("b", [2, 2, 5, NaN], [1, 1, 5, 3])]);
  it("is their difference, with the status that hides a value", () => {
    const made = derived(two, state(two, { derive: "difference" }));
    expect(numbers(made).slice(0, 3)).toEqual([1, 0, 2]);
    expect(numbers(made)[3]).toBeNaN();
    expect([...made.blocks[0]!.status.data]).toEqual([1, 1, 5, 3]);
    expect([made.first.low, made.first.high]).toEqual([-2, 2]);
  });
  it("or a part of the way from one to the other", () => {
    expect(numbers(derived(two, state(two, { derive: "morph", part: 0.25 }))).slice(0, 3)).toEqual([1.25, 2, 3.5]);
  });
  it("and nothing where their grids differ", () => {
    const other = block("b", [1, 2, 3, 4]);
    other.axes[1] = axis("y", [0, 2]);
    const apart = content([block("a", [1, 2, 3, 4]), other]);
    expect(comparable(apart)).toBe(false);
    expect(derived(apart, state(apart, { derive: "difference" }))).toBe(apart);
  });
});

describe("a page that follows", () => {
  afterEach(() => void vi.unstubAllGlobals());
  it("glides, unless the reader wants no motion or does not see it", () => {
    const [old, next] = [0, 1].map((end) => content([block("a", [1, 2, 3, 4])], [way([0, end])])) as [Content, Content];
    const asked = (reduced: boolean, hidden: boolean): boolean => {
      vi.stubGlobal("matchMedia", (words: string) => ({ matches: words === "(prefers-reduced-motion: reduce)" && reduced }));
      vi.stubGlobal("document", { hidden });
      return glides(old, next);
    };
    expect([asked(false, false), asked(true, false), asked(false, true)]).toEqual([true, false, false]);
  });
  it("keeps the surface that is the same, and only that", () => {
    const old = content([block("a", [1, 2, 3, NaN])]);
    expect(kept(old, content([block("a", [1, 2, 3, NaN])])).blocks).toBe(old.blocks);
    expect(kept(old, content([block("a", [1, 2, 3, 5])])).blocks[0]).not.toBe(old.blocks[0]);
  });
  it("lets a path glide, its new points out of the last old one", () => {
    const [old, next] = [content([block("a", [1, 2, 3, 4])], [way([0, 1])]), content([block("a", [1, 2, 3, 4])], [way([1, 3, 9])])];
    const at = (part: number): number[] => [...(between(old, next, part).overlays[0] as Way).x];
    expect(at(0)).toEqual([0, 1, 1]);
    expect(at(0.5)).toEqual([0.5, 2, 5]);
    expect(at(1)).toEqual([1, 3, 9]);
  });
});

it("errors become layers with a range of their own", () => {
  const made = layered(content([block("a", [1, 2, 3, 4])]));
  expect(made.layers).toEqual(["loss: standard error"]);
  expect(made.looks["linear|whole|loss: standard error"]).toMatchObject({ low: 1, high: 4 });
});

it("a thinned grid keeps its corners and every so many points", () => {
  const x = Float64Array.from({ length: 10 }, (_, n) => n);
  const few = thinned({ x, y: x, z: Float64Array.from({ length: 100 }, (_, n) => n) }, 4);
  expect([...few.x]).toEqual([0, 3, 6, 9]);
  expect([...few.z.slice(0, 5)]).toEqual([0, 3, 6, 9, 30]);
});

it("the style of a page becomes that of a tree", () => {
  expect(scoped(":root{--a:1}:root[data-dark]{--a:2}body{margin:0} .tbody{x:y}")).toBe(":host{--a:1}:host([data-dark]){--a:2}.page{margin:0} .tbody{x:y}");
});

it("the head of an arrow begins a little back on the way, and a path that has not come so far has none", () => {
  const one = { ...way([0, 0, 1, 1.01, 1.01]), y: Float64Array.from([0, 0, 0, 0.01, 0.01]), arrows: [1, 2, 4] };
  const [straight, bent] = heads(one, 4);
  expect(heads(one, 4).length).toBe(2); // at its second point the path has not moved
  expect(straight![0]).toBeCloseTo(1 - 0.04 * 1.01, 12);
  expect(straight!.slice(1)).toEqual([0, 1, 0]);
  expect(bent![0]).toBeCloseTo(1 - (0.04 * 1.01 - Math.hypot(0.01, 0.01)), 12);
  expect(bent!.slice(1)).toEqual([0, 1.01, 0.01]);
  expect(heads(one, 3).length).toBe(1);
});

it("a path names the steps at which its learning rate fell to half or less", () => {
  const one = { ...way([0, 1, 2, 3]), along: { "learning rate": Float64Array.from([0.1, 0.09, 0.01, 0.005]) } };
  expect(drops(one)).toEqual([[2, "lr ÷ 9"], [3, "lr ÷ 2"]]);
  expect(drops(way([0, 1]))).toEqual([]);
});

describe("what is saved", () => {
  it("is a zip whose directory finds every file", () => {
    const made = zipped([["a.npy", Uint8Array.of(1, 2, 3)], ["ü.npy", Uint8Array.of()]]);
    const view = new DataView(made.buffer);
    const end = made.length - 22;
    expect([view.getUint32(end, true), view.getUint16(end + 10, true)]).toEqual([0x06054b50, 2]);
    const first = view.getUint32(end + 16, true);
    expect(view.getUint32(first, true)).toBe(0x02014b50);
    expect(view.getUint32(first + 16, true)).toBe(0x55bc801d); // crc32 of 01 02 03
  });
  it("is a table with a row for each cell", () => {
    const rows = csv({ ...content([block('a "b"', [1, 2, 3, NaN], [1, 1, 5, 3])]), reasons: { "3": "failed", "5": "interpolated" } });
    expect(rows.split("\n").slice(0, 5)).toEqual(['landscape,"x","y",status,"loss"', '"a ""b""",0,0,ok,1', '"a ""b""",1,0,ok,2', '"a ""b""",0,1,interpolated,3', '"a ""b""",1,1,failed,NaN']);
  });
});

it("facts stand in groups, each once", () => {
  const facts = { title: "a", seed: "1", "cosines: x,y": "0", "provenance: command": "lossatlas", "provenance: machine": "m" };
  expect(parted(facts).map(([group, found]) => [group, found.map(([name]) => name)])).toEqual([["What was measured", ["title"]], ["How", ["seed", "cosines: x,y"]], ["When, and by what", ["machine"]]]);
});

describe("regions", () => {
  const layer = { name: "basins", words: "", regions: ["one", "two"], cells: { shape: [2, 2], data: Uint8Array.from([0, 255, 0, 1]) }, marks: [] };
  const made = { ...content([{ ...block("a", [1, 2, 3, 4]), layers: [layer] }]), regions: ["#ff0000", "#00ff00"] };
  it("lie upon a panel where they are chosen, and are the same object each time", () => {
    expect(tinted(made, state(made, {}))).toBe(made);
    const [first, again] = [0, 1].map(() => tinted(made, state(made, { tints: ["basins"] })).overlays[0]);
    expect(first).toMatchObject({ kind: "regions", panel: 0, cells: { data: Float64Array.from([0, -1, 0, 1]) } });
    expect(again).toBe(first);
  });
  it("have borders where two cells differ", () => {
    const tint = { cells: Float64Array.from([0, -1, 0, 1]), colours: ["#ff0000"] };
    expect(borders(new Field(made.blocks[0]!, "loss"), tint)).toEqual([0.5, 0, 0.5, 0.5, 0.5, 0.5, 1, 0.5, 0.5, 0.5, 0.5, 1]);
    expect([0, 1, 3].map((cell) => tintOf(tint, cell))).toEqual(["#ff0000", null, "#ff0000"]);
  });
});

it("says what the numbers on the axes are only as far as it is known", () => {
  const content = { limits: { x: [0, 1], lr: [0, 0.1], step: [0, 90] } } as unknown as Content;
  const at = (name: string, counted: string, length: number | null = null) => ({ ...axis(name, [0, 1]), counted, length });
  const along = "multiples of the direction";
  expect(unit(content, [at("x", along, 2), at("x", along, 2)])).toBe("Both axes to one scale of length.");
  expect(unit(content, [at("x", along), at("x", along)])).toBe("Axes in multiples of their directions.");
  expect(unit(content, [at("lr", ""), at("step", "")])).toBe("");
  expect(unit(content, [at("x", along), at("step", "")])).toBe("x: multiples of the direction.");
});
