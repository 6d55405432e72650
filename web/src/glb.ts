/** How does a relief leave the page as a solid? As a glb, which Blender and other programs read. */

import { joined } from "./save";

/** The triangles of a surface: x, y, z of each point in widths of its box, z upwards; colours from 0 to 1. */
export interface Shape {
  name: string;
  points: Float32Array;
  normals: Float32Array;
  colours: Float32Array;
  triangles: Uint32Array;
}

const [FLOAT, WHOLE, POINTS, INDICES] = [5126, 5125, 34962, 34963];

/** The y axis of glTF points upwards. */
function upright(points: Float32Array): Float32Array {
  const out = new Float32Array(points.length);
  for (let n = 0; n < points.length; n += 3) out.set([points[n]!, points[n + 2]!, -points[n + 1]!], n);
  return out;
}

/** glTF takes linear colours, not those of screens. */
function light(colour: number): number {
  return colour <= 0.04045 ? colour / 12.92 : ((colour + 0.055) / 1.055) ** 2.4;
}

function ends(points: Float32Array): { min: number[]; max: number[] } {
  const [min, max] = [[Infinity, Infinity, Infinity], [-Infinity, -Infinity, -Infinity]];
  points.forEach((value, n) => {
    min[n % 3] = Math.min(min[n % 3]!, value);
    max[n % 3] = Math.max(max[n % 3]!, value);
  });
  return { min, max };
}

/** Binary glTF 2.0: a header, the words as JSON, and the arrays; several surfaces stand side by side. */
export function glb(shapes: Shape[]): Uint8Array<ArrayBuffer> {
  const arrays: Uint8Array[] = [];
  const [bufferViews, accessors]: [object[], object[]] = [[], []];
  let place = 0;
  const add = (data: Float32Array | Uint32Array, more: object): number => {
    const triangles = data instanceof Uint32Array;
    arrays.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    bufferViews.push({ buffer: 0, byteOffset: place, byteLength: data.byteLength, target: triangles ? INDICES : POINTS });
    place += data.byteLength;
    const [type, count] = triangles ? ["SCALAR", data.length] : ["VEC3", data.length / 3];
    return accessors.push({ bufferView: bufferViews.length - 1, componentType: triangles ? WHOLE : FLOAT, count, type, ...more }) - 1;
  };
  const meshes = shapes.map(({ name, points, normals, colours, triangles }) => {
    const placed = upright(points);
    const attributes = { POSITION: add(placed, ends(placed)), NORMAL: add(upright(normals), {}), COLOR_0: add(colours.map(light), {}) };
    return { name, primitives: [{ attributes, indices: add(triangles, {}), material: 0 }] };
  });
  const words = {
    asset: { version: "2.0", generator: "lossatlas" }, scene: 0, scenes: [{ nodes: meshes.map((_, n) => n) }],
    nodes: meshes.map(({ name }, n) => ({ name, mesh: n, translation: [1.25 * n, 0, 0] })), meshes,
    materials: [{ doubleSided: true, pbrMetallicRoughness: { metallicFactor: 0, roughnessFactor: 0.9 } }],
    accessors, bufferViews, buffers: [{ byteLength: place }],
  };
  const text = new TextEncoder().encode(JSON.stringify(words));
  const json = joined([text, new Uint8Array(-text.length & 3).fill(0x20)]);
  const head = (...longs: number[]): Uint8Array => new Uint8Array(Uint32Array.from(longs).buffer);
  const [glTF, JSON_, BIN] = [0x46546c67, 0x4e4f534a, 0x004e4942];
  return joined([head(glTF, 2, 28 + json.length + place), head(json.length, JSON_), json, head(place, BIN), ...arrays]);
}
