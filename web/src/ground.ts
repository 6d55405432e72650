/** Which triangles and lines is a surface made of? Built in steps, so that the page stays responsive. */

import { BufferAttribute, BufferGeometry, CanvasTexture, Group, LinearFilter, Mesh } from "three";
import { Box, FLOOR, TALL, type Drawing } from "./drawing";
import { AT_ONCE, normals, occlusion, type Grid, type Surface } from "./mesh";
import { drawTint, lookup, picture } from "./paint";
import { clay, pieces, sheet } from "./shapes";
import { addBorders, tinting } from "./tint";

export interface Ground {
  /** All of it. */
  group: Group;
  /** The coarser surface that stands in for it while it moves. */
  full: Group;
  mesh: Mesh;
  fine: Grid;
  /** How many points the surface has. */
  points: number;
}

const SIDE = 384;

export function* ground(drawing: Drawing): Generator<void, Ground> {
  const { field, shown } = drawing;
  const box = new Box(drawing);
  const { fine, made, lines } = yield* drawing.shape();
  const [group, full] = [new Group(), new Group()];
  group.add(full);
  const mesh = yield* addSurface(full, drawing, fine, made);
  yield;
  if (drawing.contours) addLines(full, drawing, lines);
  yield;
  group.add(frame(box, drawing.faint));
  for (const tint of drawing.tints) addBorders(group, field, tint, fine, shown.top, (points) => box.placed(points, 0.003));
  if (drawing.floor) group.add(yield* floor(drawing, box));
  return { group, full, mesh, fine, points: made.points.length / 3 };
}

/** The surface of a grid, in its colours, shaded where it sees little of the sky. */
export function* addSurface(into: Group, drawing: Drawing, fine: Grid, made: Surface): Generator<void, Mesh> {
  const { shown } = drawing;
  const box = new Box(drawing);
  const scaled = box.scaled(fine);
  const up = yield* normals(scaled);
  yield;
  const sky = yield* occlusion(scaled);
  const tint = drawing.tints.length ? tinting(drawing.field, drawing.tints) : null;
  const colours = lookup(drawing.colours);
  const last = colours.length / 3 - 1;
  const count = made.points.length / 3;
  const [normal, colour] = [new Float32Array(count * 3), new Float32Array(count * 3)];
  const per = last / (shown.top - shown.bottom || 1);
  for (let n = 0; n < count; n++) {
    if (n % AT_ONCE === 0) yield;
    const [p, q, s] = [made.ends[2 * n]!, made.ends[2 * n + 1]!, made.share[n]!];
    for (let k = 0; k < 3; k++) normal[3 * n + k] = up[3 * p + k]! * (1 - s) + up[3 * q + k]! * s;
    const shade = (0.5 + 0.5 * (sky[p]! * (1 - s) + sky[q]! * s)) / 255;
    const at = 3 * Math.min(Math.max(Math.round((made.points[3 * n + 2]! - shown.bottom) * per), 0), last);
    const own: [number, number, number] = [colours[at]!, colours[at + 1]!, colours[at + 2]!];
    const [red, green, blue] = tint ? tint(own, made.points[3 * n]!, made.points[3 * n + 1]!) : own;
    colour[3 * n] = red * shade;
    colour[3 * n + 1] = green * shade;
    colour[3 * n + 2] = blue * shade;
  }
  yield;
  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new BufferAttribute(box.placed(made.points), 3));
  geometry.setAttribute("normal", new BufferAttribute(normal, 3));
  geometry.setAttribute("color", new BufferAttribute(colour, 3));
  geometry.setIndex(new BufferAttribute(made.triangles, 1));
  const mesh = new Mesh(geometry, clay());
  into.add(mesh, pieces(box.placed(made.rim, 0.001), drawing.ink, 0.75));
  return mesh;
}

/** All contour lines as one shape. */
export function addLines(into: Group, drawing: Drawing, lines: Float32Array[]): void {
  const all = new Float32Array(lines.reduce((sum, line) => sum + line.length, 0));
  let place = 0;
  for (const line of lines) {
    all.set(line, place);
    place += line.length;
  }
  into.add(pieces(new Box(drawing).placed(all), "#ffffff", 0.5));
}

function frame(box: Box, faint: string): ReturnType<typeof pieces> {
  const [a, b] = box.sides.map((side) => side / 2) as [number, number];
  const corners = [[-a, -b], [a, -b], [a, b], [-a, b]] as const;
  const out: number[] = [];
  corners.forEach(([x, y], n) => {
    const [u, v] = corners[(n + 1) % 4]!;
    out.push(x, y, -FLOOR, u, v, -FLOOR);
    out.push(x, y, -FLOOR, x, y, TALL);
  });
  return pieces(Float32Array.from(out), faint, 0.35);
}

function* floor(drawing: Drawing, box: Box): Generator<void, Mesh> {
  const { field, shown, colours, smooth, tints } = drawing;
  const canvas = yield* picture(field, shown, colours, [SIDE, SIDE], !smooth);
  const part = (c: Float64Array) => (value: number): number => (SIDE * (value - c[0]!)) / (c[c.length - 1]! - c[0]!);
  const [px, py] = [part(field.x), part(field.y)];
  for (const tint of tints) drawTint(canvas.getContext("2d")!, field, tint, px, (y) => SIDE - py(y));
  const texture = new CanvasTexture(canvas);
  texture.minFilter = LinearFilter;
  texture.generateMipmaps = false;
  const [x0, y0] = box.at(field.x[0]!, field.y[0]!, 0);
  const [x1, y1] = box.at(field.x[field.nx - 1]!, field.y[field.ny - 1]!, 0);
  const made = sheet(texture, x1 - x0, y1 - y0);
  made.position.set((x0 + x1) / 2, (y0 + y1) / 2, -FLOOR);
  return made;
}
