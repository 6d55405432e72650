/** Which programs does a graphics card run for a relief? Compiled in the background before there is anything to draw. */

import { BackSide, BoxGeometry, BufferAttribute, BufferGeometry, FrontSide, Group, Line, LineBasicMaterial, Mesh, MeshBasicMaterial, Texture } from "three";
import { clay, cloud, pieces, sheet } from "./shapes";

function triangle(...names: string[]): BufferGeometry {
  const made = new BufferGeometry();
  for (const name of names) made.setAttribute(name, new BufferAttribute(new Float32Array(9), 3));
  return made;
}

/** One shape of each kind that a relief has: surface, lines, floor, points, paths, and the cursor; never seen. */
export function kinds(): Group {
  const balls = [FrontSide, BackSide].map((side) => new Mesh(new BoxGeometry(), new MeshBasicMaterial({ side })));
  return new Group().add(
    new Mesh(triangle("position", "normal", "color"), clay()), pieces(new Float32Array(6), "#ffffff", 0.5), sheet(new Texture(), 1, 1),
    cloud(new Float32Array(3), 1, "#ffffff"), new Line(triangle("position"), new LineBasicMaterial()), ...balls,
  );
}
