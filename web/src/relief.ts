/** How does a field become a lit relief? The three.js scene of one panel: surface, rim, lines, floor, marks. */

import {
  AmbientLight, BufferAttribute, BufferGeometry, CanvasTexture, ColorManagement, DirectionalLight, DoubleSide, Group, 
  LinearFilter, LinearSRGBColorSpace, Mesh, MeshBasicMaterial, OrthographicCamera, PerspectiveCamera,
  Plane, PlaneGeometry, Raycaster, Scene, SphereGeometry, Vector2, Vector3, WebGLRenderer,
} from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { alike, type Drawing } from "./drawing";
import { contours, normals, occlusion, refined, surface, thinned, type Grid, type Surface } from "./mesh";
import { addMarks } from "./marks";
import { Motion } from "./motion";
import { drawTint, heights, picture } from "./paint";
import { addBorders, tinting } from "./tint";
import { clay, discard, pieces, slowly } from "./shapes";

ColorManagement.enabled = false; // colours are mixed as the printed pictures mix them

/** Height of the box in parts of its width, as RELIEF_HEIGHT in draw/scene.py; the floor lies below it. */
const TALL = 0.6;
const FLOOR = 0.22;
const MIDDLE = 0.14;
/** So many points along an axis are drawn while a relief moves that is too large to move smoothly, by level of Motion. */
const FEW = [Infinity, 90, 56];
/** The light, as in draw/relief.py: from the left of the eye and above; the rest evenly from everywhere. */
const LEFT_OF_EYE = (80 * Math.PI) / 180;
const ALTITUDE = (48 * Math.PI) / 180;

export interface Pose {
  from: [number, number, number];
  at: [number, number, number];
  zoom: number;
}

export class Relief {
  private readonly renderer: WebGLRenderer;
  private readonly scene = new Scene();
  private readonly perspective = new PerspectiveCamera(26, 1, 0.05, 50);
  private readonly orthographic = new OrthographicCamera(-1, 1, 1, -1, -20, 50);
  private camera: PerspectiveCamera | OrthographicCamera = this.perspective;
  private controls: OrbitControls;
  private readonly sun = new DirectionalLight(0xffffff, 0.5 * Math.PI);
  private ground = new Group();
  private upon = new Group();
  private readonly motion = new Motion(() => this.quality());
  /** What is drawn in place of the whole surface, by level of Motion. */
  private readonly coarse = new Map<number, Group>();
  private readonly software: boolean;
  private readonly cursor = new Group();
  private mesh: Mesh | null = null;
  private full = new Group();
  private fine: Grid = { x: new Float64Array(0), y: new Float64Array(0), z: new Float64Array(0) };
  private readonly away = new Vector3();
  private drawing: Drawing | null = null;
  private raised: Float64Array = new Float64Array(0);
  private waiting = false;
  private fitted = 0;
  onPose: (pose: Pose) => void = () => undefined;
  onFrame: () => void = () => undefined;

  constructor(readonly canvas: HTMLCanvasElement) {
    this.software = slowly();
    this.renderer = new WebGLRenderer({ canvas, antialias: !this.software, alpha: true });
    this.renderer.outputColorSpace = LinearSRGBColorSpace;
    this.scene.add(new AmbientLight(0xffffff, 0.62 * Math.PI), this.sun, this.cursor, this.ground, this.upon);
    for (const camera of [this.perspective, this.orthographic]) camera.up.set(0, 0, 1);
    this.controls = this.controlled();
  }

  private controlled(): OrbitControls {
    const controls = new OrbitControls(this.camera, this.canvas);
    controls.target.set(0, 0, MIDDLE);
    controls.addEventListener("change", () => {
      this.motion.moved();
      this.render();
      this.onPose(this.pose());
    });
    return controls;
  }

  /** The eye, by elevation and azimuth in degrees. */
  look([elevation, azimuth]: [number, number], way = 3.35): void {
    const [e, a] = [(elevation * Math.PI) / 180, (azimuth * Math.PI) / 180];
    const eye = new Vector3(Math.cos(e) * Math.cos(a), Math.cos(e) * Math.sin(a), Math.sin(e)).multiplyScalar(way);
    this.controls.target.set(0, 0, MIDDLE);
    this.camera.position.copy(eye).add(this.controls.target);
    this.camera.zoom = 1;
    this.camera.updateProjectionMatrix();
    this.controls.update();
    this.render();
    this.onPose(this.pose());
  }

  /** Turn by degrees, or come nearer: what the keys do. */
  turn(azimuth: number, elevation: number, nearer = 1): void {
    const away = this.camera.position.clone().sub(this.controls.target);
    const far = away.length() / (this.camera === this.perspective ? nearer : 1);
    const a = Math.atan2(away.y, away.x) + (azimuth * Math.PI) / 180;
    const e = Math.min(Math.max(Math.asin(away.z / away.length()) + (elevation * Math.PI) / 180, -0.2), Math.PI / 2 - 0.001);
    this.camera.position.set(Math.cos(e) * Math.cos(a), Math.cos(e) * Math.sin(a), Math.sin(e)).multiplyScalar(far).add(this.controls.target);
    if (this.camera === this.orthographic) this.camera.zoom *= nearer;
    this.camera.updateProjectionMatrix();
    this.controls.update();
    this.render();
    this.onPose(this.pose());
  }

  flat(on: boolean): void {
    const next = on ? this.orthographic : this.perspective;
    if (next === this.camera) return;
    const pose = this.pose();
    this.controls.dispose();
    this.camera = next;
    this.controls = this.controlled();
    this.size();
    this.take(pose);
  }

  pose(): Pose {
    return { from: this.camera.position.toArray(), at: this.controls.target.toArray(), zoom: this.camera.zoom };
  }

  /** Take the pose of another picture, without telling it back. */
  take(pose: Pose): void {
    this.motion.moved();
    this.camera.position.fromArray(pose.from);
    this.controls.target.fromArray(pose.at);
    this.camera.zoom = pose.zoom;
    this.camera.updateProjectionMatrix();
    this.camera.lookAt(this.controls.target);
    this.render();
  }

  size(): void {
    const [width, tall] = [this.canvas.clientWidth || 300, this.canvas.clientHeight || 300];
    this.renderer.setPixelRatio(this.density);
    this.renderer.setSize(width, tall, false);
    const ratio = width / tall;
    // The box is seen whole also where the picture is narrow.
    this.perspective.fov = ratio >= 1.25 ? 26 : (2 * Math.atan((Math.tan((13 * Math.PI) / 180) * 1.25) / ratio) * 180) / Math.PI;
    this.perspective.aspect = ratio;
    const half = Math.max(0.7, 0.9 / ratio);
    Object.assign(this.orthographic, { left: -half * ratio, right: half * ratio, top: half, bottom: -half });
    this.perspective.updateProjectionMatrix();
    this.orthographic.updateProjectionMatrix();
    this.render();
  }

  render(): void {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.motion.frame();
      this.paint();
      this.onFrame();
    });
  }

  private paint(): void {
    const away = this.away.copy(this.camera.position).sub(this.controls.target);
    const azimuth = Math.atan2(away.y, away.x) - LEFT_OF_EYE;
    this.sun.position.set(Math.cos(ALTITUDE) * Math.cos(azimuth), Math.cos(ALTITUDE) * Math.sin(azimuth), Math.sin(ALTITUDE));
    this.renderer.render(this.scene, this.camera);
  }

  /** The canvas with the picture in it, to be read before the browser shows the next frame. */
  painted(): HTMLCanvasElement {
    this.paint();
    return this.canvas;
  }

  /** Pixels drawn for one of the page. Without a graphics card edges are smoothed at rest alone, by drawing more of them. */
  private get density(): number {
    const own = Math.min(window.devicePixelRatio || 1, 2);
    if (this.motion.level === 2) return 0.75 * own;
    return this.software && !this.motion.moving ? 2 : own;
  }

  /** From coordinates and heights to the box: x and y around 0, z from 0 to TALL. */
  private box(x: number, y: number, z: number): [number, number, number] {
    const { limits, shown } = this.drawing!;
    const [wide, deep] = this.sides;
    const part = (value: number, [low, high]: [number, number]): number => (value - low) / (high - low) - 0.5;
    return [part(x, limits[0]) * wide, part(y, limits[1]) * deep, ((z - shown.bottom) / (shown.top - shown.bottom || 1)) * TALL];
  }

  private placed(points: ArrayLike<number>, lift = 0): Float32Array {
    const out = new Float32Array(points.length);
    for (let n = 0; n < points.length; n += 3) {
      const [x, y, z] = this.box(points[n]!, points[n + 1]!, points[n + 2]!);
      out.set([x, y, z + lift], n);
    }
    return out;
  }

  /** Draw; what stays as it was, as the surface under a path that grows, is not made again. */
  draw(drawing: Drawing): void {
    const same = this.drawing !== null && alike(this.drawing, drawing);
    this.drawing = drawing;
    if (!same) this.drawGround();
    this.upon = this.fresh(this.upon);
    addMarks(this.upon, { ...drawing, raised: this.raised, placed: (points, lift) => this.placed(points, lift) });
    this.render();
  }

  private fresh(old: Group): Group {
    discard(old);
    this.scene.remove(old);
    const made = new Group();
    this.scene.add(made);
    return made;
  }

  private drawGround(): void {
    const { field, shown, smooth, contours: lines, floor } = this.drawing!;
    this.ground = this.fresh(this.ground);
    this.coarse.clear();
    this.motion.restart();
    this.raised = heights(field, shown, 1);
    const grid = { x: field.x, y: field.y, z: this.raised };
    const times = smooth ? Math.max(1, Math.round(200 / Math.max(field.nx, field.ny))) : 1;
    const fine = refined(grid, times);
    const made = surface(fine, shown.top);
    this.fitted = made.points.length / 3;
    this.full = new Group();
    this.ground.add(this.full);
    this.fine = fine;
    this.mesh = this.addSurface(this.full, fine, made);
    if (lines) this.addLines(this.full, made);
    this.addFrame();
    const lifted = (points: number[]): Float32Array => this.placed(points, 0.003);
    for (const tint of this.drawing!.tints) addBorders(this.ground, field, tint, fine, shown.top, lifted);
    if (floor) this.addFloor();
  }

  /** While it moves too slowly, fewer facets, then no lines and fewer pixels; as soon as it rests, all of them. */
  private quality(): void {
    const level = this.motion.level;
    if (level > 0 && !this.coarse.has(level)) this.coarse.set(level, this.addCoarse(level));
    for (const [of, group] of this.coarse) group.visible = of === level;
    this.full.visible = level === 0;
    if (this.renderer.getPixelRatio() !== this.density) this.renderer.setPixelRatio(this.density);
    this.render();
  }

  private addCoarse(level: number): Group {
    const few = thinned(this.fine, FEW[level]!);
    const made = surface(few, this.drawing!.shown.top);
    const group = new Group();
    this.ground.add(group);
    this.addSurface(group, few, made);
    if (this.drawing!.contours && level === 1) this.addLines(group, made);
    return group;
  }

  private addSurface(into: Group, fine: Grid, made: Surface): Mesh {
    const { shown, colours } = this.drawing!;
    const scaled = this.scaled(fine);
    const [up, sky] = [normals(scaled), occlusion(scaled)];
    const tint = tinting(this.drawing!.field, this.drawing!.tints);
    const count = made.points.length / 3;
    const [normal, colour] = [new Float32Array(count * 3), new Float32Array(count * 3)];
    for (let n = 0; n < count; n++) {
      const [p, q, s] = [made.ends[2 * n]!, made.ends[2 * n + 1]!, made.share[n]!];
      for (let k = 0; k < 3; k++) normal[3 * n + k] = up[3 * p + k]! * (1 - s) + up[3 * q + k]! * s;
      const shade = 0.5 + 0.5 * (sky[p]! * (1 - s) + sky[q]! * s);
      const part = (made.points[3 * n + 2]! - shown.bottom) / (shown.top - shown.bottom || 1);
      tint(colours(part), made.points[3 * n]!, made.points[3 * n + 1]!).forEach((c, k) => (colour[3 * n + k] = (c / 255) * shade));
    }
    const geometry = new BufferGeometry();
    geometry.setAttribute("position", new BufferAttribute(this.placed(made.points), 3));
    geometry.setAttribute("normal", new BufferAttribute(normal, 3));
    geometry.setAttribute("color", new BufferAttribute(colour, 3));
    geometry.setIndex(new BufferAttribute(made.triangles, 1));
    const mesh = new Mesh(geometry, clay());
    into.add(mesh, pieces(this.placed(made.rim, 0.001), this.drawing!.ink, 0.75));
    return mesh;
  }

  private scaled(grid: Grid): Grid {
    const x = grid.x.map((one) => this.box(one, 0, 0)[0]);
    const y = grid.y.map((one) => this.box(0, one, 0)[1]);
    return { x, y, z: grid.z.map((one) => this.box(0, 0, one)[2]) };
  }

  private addLines(into: Group, made: Surface): void {
    for (const line of contours(made, this.drawing!.shown.levels)) into.add(pieces(this.placed(line, 0.0015), "#ffffff", 0.5));
  }

  private addFrame(): void {
    const { faint } = this.drawing!;
    const [a, b] = this.sides.map((side) => side / 2) as [number, number];
    const corners = [[-a, -b], [a, -b], [a, b], [-a, b]] as const;
    const out: number[] = [];
    corners.forEach(([x, y], n) => {
      const [u, v] = corners[(n + 1) % 4]!;
      out.push(x, y, -FLOOR, u, v, -FLOOR);
      out.push(x, y, -FLOOR, x, y, TALL);
    });
    this.ground.add(pieces(Float32Array.from(out), faint, 0.35));
  }

  private addFloor(): void {
    const { field, shown, colours, smooth, tints } = this.drawing!;
    const canvas = picture(field, shown, colours, [384, 384], !smooth);
    const part = (c: Float64Array) => (value: number): number => (384 * (value - c[0]!)) / (c[c.length - 1]! - c[0]!);
    const [px, py] = [part(field.x), part(field.y)];
    for (const tint of tints) drawTint(canvas.getContext("2d")!, field, tint, px, (y) => 384 - py(y));
    const texture = new CanvasTexture(canvas);
    texture.minFilter = LinearFilter;
    texture.generateMipmaps = false;
    const [x0, y0] = this.box(field.x[0]!, field.y[0]!, 0);
    const [x1, y1] = this.box(field.x[field.nx - 1]!, field.y[field.ny - 1]!, 0);
    const floor = new Mesh(new PlaneGeometry(x1 - x0, y1 - y0), new MeshBasicMaterial({ map: texture, transparent: true, opacity: 0.85, side: DoubleSide }));
    floor.position.set((x0 + x1) / 2, (y0 + y1) / 2, -FLOOR);
    this.ground.add(floor);
  }

  /** The cursor: a ball on the surface and a thread to the floor. */
  mark(place: { x: number; y: number } | null): void {
    discard(this.cursor);
    this.cursor.clear();
    if (place && this.drawing) {
      const { field, shown, ink } = this.drawing;
      const z = field.between(this.raised.map((one) => Math.min(one, shown.top)), place.x, place.y);
      const [x, y, up] = this.box(place.x, place.y, Number.isNaN(z) ? shown.bottom : z);
      this.cursor.add(pieces(Float32Array.from([x, y, -FLOOR, x, y, Number.isNaN(z) ? TALL : up]), ink, 0.8));
      if (!Number.isNaN(z)) {
        const ball = new Mesh(new SphereGeometry(0.011, 16, 12), new MeshBasicMaterial({ color: 0xffffff }));
        const edge = new Mesh(new SphereGeometry(0.015, 16, 12), new MeshBasicMaterial({ color: 0x000000, side: 1 }));
        for (const one of [ball, edge]) one.position.set(x, y, up);
        this.cursor.add(ball, edge);
      }
    }
    this.render();
  }

  /** Where a ray through a pixel meets the surface or the floor, in coordinates of the axes. */
  pick(clientX: number, clientY: number): { x: number; y: number } | null {
    if (!this.drawing) return null;
    const area = this.canvas.getBoundingClientRect();
    const ray = new Raycaster();
    ray.setFromCamera(new Vector2(((clientX - area.left) / area.width) * 2 - 1, 1 - ((clientY - area.top) / area.height) * 2), this.camera);
    const hit = this.mesh ? ray.intersectObject(this.mesh, false)[0]?.point : undefined;
    const { limits } = this.drawing;
    const [wide, deep] = this.sides;
    const floor = ray.ray.intersectPlane(PLANE, new Vector3());
    const found = hit ?? floor;
    if (!found) return null;
    const [u, v] = [found.x / wide + 0.5, found.y / deep + 0.5];
    if (u < 0 || u > 1 || v < 0 || v > 1) return null;
    return { x: limits[0][0] + u * (limits[0][1] - limits[0][0]), y: limits[1][0] + v * (limits[1][1] - limits[1][0]) };
  }

  /** Where on the canvas a place of the box is, in pixels, and how far from the eye. */
  project(x: number, y: number, z: number): [number, number, number] {
    const point = new Vector3(x, y, z);
    const far = point.distanceTo(this.camera.position);
    point.project(this.camera);
    return [((point.x + 1) / 2) * this.canvas.clientWidth, ((1 - point.y) / 2) * this.canvas.clientHeight, far];
  }

  /** For tests: the height drawn at a place, back in units of the scale, and the number of points. */
  heightAt(x: number, y: number): number {
    return this.drawing ? this.drawing.field.between(this.raised, x, y) : NaN;
  }

  get pointCount(): number {
    return this.fitted;
  }

  /** For tests: how much is left out while it moves, 0 for nothing. */
  get level(): number {
    return this.motion.level;
  }

  /** Width and depth of the box, the larger of them 1. */
  private get sides(): [number, number] {
    const depth = this.drawing?.depth ?? 1;
    return [Math.min(1, 1 / depth), Math.min(1, depth)];
  }

  get frameOf(): { sides: [number, number]; floor: number; tall: number } {
    return { sides: this.sides, floor: -FLOOR, tall: TALL };
  }

  free(): void {
    this.motion.stop();
    discard(this.scene);
    this.controls.dispose();
    this.renderer.dispose();
  }
}

const PLANE = new Plane(new Vector3(0, 0, 1), FLOOR);
