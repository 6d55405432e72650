/** Does each place take the cell of the map that it lies in, and nothing between cells? */
import { describe, expect, it } from "vitest";
import type { Block, Content, RatioMap } from "../src/data";
import { cellOf, ratioRange, ratioUpon, ratioWords } from "../src/ratio";

const map: RatioMap = {
  x: Float64Array.from([-1, 0, 1]), y: Float64Array.from([0, 2]),
  values: { shape: [2, 3], data: Float64Array.from([0.02, 0.1, 0.9, 0.4, 0.5, 0.6]) }, status: { shape: [2, 3], data: Uint8Array.from([1, 1, 3, 1, 1, 1]) },
};
const axis = (name: string, coordinates: number[]) => ({ name, label: name, coordinates: Float64Array.from(coordinates), length: 1, counted: "multiples of the direction" });
const block = { axes: [axis("x", [-1.5, -0.6, -0.4, 0.6]), axis("y", [0.9, 1.1])] } as unknown as Block;

describe("a map of curvature", () => {
  it("has its borders half-way between its points, and ends at the outer ones", () => {
    expect([-1, -0.51, -0.49, 0.49, 0.51, 1].map((x) => cellOf(map, x, 0))).toEqual([0, 0, 1, 1, 2, 2]);
    expect([0.9, 1.1].map((y) => cellOf(map, 0, y))).toEqual([1, 4]);
    expect([cellOf(map, 1.01, 0), cellOf(map, 0, -0.01)]).toEqual([-1, -1]);
  });
  it("leaves cells clear that lie outside or have no value", () => {
    const made = ratioUpon({ maps: { cividis: ["#000000", "#ffffff"] } } as unknown as Content, { ...block, ratio: map }, 0);
    expect([...made.cells.data]).toEqual([-1, 0, 1, -1, -1, 3, 4, 5]);
    expect([made.colours![0], made.colours![5], made.plain]).toEqual(["#000000", "#ffffff", true]);
  });
  it("has a range of its own, without the points that failed", () => {
    expect([ratioRange(map).low, ratioRange(map).high]).toEqual([0.02, 0.6]);
  });
  it("says its value and the cell", () => {
    expect(ratioWords(block, map, 1, 0)).toBe("ratio 0.02 in the cell around −1, 0");
    expect(ratioWords(block, map, 3, 0)).toBe("ratio: no value in the cell around 1, 0");
    expect(ratioWords(block, map, 0, 0)).toBe("ratio: outside the map");
  });
});
