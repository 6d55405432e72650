/** Which shapes does a relief consist of, and what is their material? */

import {
  BufferAttribute, BufferGeometry, DoubleSide, LineBasicMaterial, LineSegments, Mesh, MeshBasicMaterial, MeshLambertMaterial, PlaneGeometry, Points, PointsMaterial,
  type Material, type Object3D, type Texture,
} from "three";

/** Both sides of the surface are lit as its upper side is, as on the printed picture: no side is black. */
export function clay(): MeshLambertMaterial {
  const made = new MeshLambertMaterial({ vertexColors: true, side: DoubleSide, polygonOffset: true, polygonOffsetFactor: 2, polygonOffsetUnits: 2 });
  made.onBeforeCompile = (shader) => {
    shader.fragmentShader = shader.fragmentShader.replace("#include <normal_fragment_begin>", "#include <normal_fragment_begin>\nnormal = normalize(vNormal);");
  };
  return made;
}

export function pieces(points: Float32Array, colour: string, opacity: number): LineSegments {
  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new BufferAttribute(points, 3));
  return new LineSegments(geometry, new LineBasicMaterial({ color: colour, transparent: true, opacity }));
}

export function cloud(points: Float32Array, size: number, colour: string | null, colours?: Float32Array): Points {
  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new BufferAttribute(points, 3));
  if (colours) geometry.setAttribute("color", new BufferAttribute(colours, 3));
  const look = colour === null ? { vertexColors: true } : { color: colour };
  const material = new PointsMaterial({ size, sizeAttenuation: false, ...look });
  material.onBeforeCompile = (shader) => {
    shader.fragmentShader = shader.fragmentShader.replace("#include <clipping_planes_fragment>", "if (length(gl_PointCoord - 0.5) > 0.5) discard;");
  };
  return new Points(geometry, material);
}

/** A picture that lies flat, seen from both sides. */
export function sheet(picture: Texture, wide: number, deep: number): Mesh {
  return new Mesh(new PlaneGeometry(wide, deep), new MeshBasicMaterial({ map: picture, transparent: true, opacity: 0.85, side: DoubleSide }));
}

export function discard(whole: Object3D): void {
  whole.traverse((one) => {
    const { geometry, material } = one as Partial<{ geometry: BufferGeometry; material: Material & { map?: { dispose(): void } | null } }>;
    geometry?.dispose();
    material?.map?.dispose();
    material?.dispose();
  });
}
