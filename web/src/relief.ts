/** How does a field become a lit relief? The three.js scene of one panel: surface, rim, lines, floor, marks. */

import {
  AmbientLight, ColorManagement, DirectionalLight, Group, LinearSRGBColorSpace, Mesh, MeshBasicMaterial, OrthographicCamera,
  PerspectiveCamera, Plane, Raycaster, Scene, SphereGeometry, Vector2, Vector3, WebGLRenderer,
  type Object3D,
} from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { alike, Box, FLOOR, TALL, type Drawing } from "./drawing";
import { inSoftware } from "./graphics";
import { addLines, addSurface, ground, type Ground } from "./ground";
import { contours, surface, thinned } from "./mesh";
import type { Shape } from "./glb";
import { addMarks } from "./marks";
import { LAST, Motion } from "./motion";
import { heights } from "./paint";
import { kinds } from "./programs";
import { discard, pieces } from "./shapes";
import { pause, whole, type Slices, type Work } from "./slices";
import { Unseen } from "./unseen";

ColorManagement.enabled = false; // colours are mixed as the printed pictures mix them

const MIDDLE = 0.14;
/** How many points along an axis are drawn while a relief too large to move smoothly is moving, by level of Motion. */
const FEW = [Infinity, 130, 90, 56];
/** A larger surface is thinned from the start of a movement, if there is no graphics card. */
const MANY = 130 * 130;
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
  private readonly lights = [new AmbientLight(0xffffff, 0.62 * Math.PI), this.sun] as const;
  private readonly unseen: Unseen;
  private made: Ground | null = null;
  private upon = new Group();
  private readonly motion = new Motion(() => this.quality());
  /** What is drawn in place of the whole surface, by level of Motion. */
  private readonly coarse = new Map<number, Group>();
  private readonly software: boolean;
  private readonly cursor = new Group();
  private readonly away = new Vector3();
  private drawing: Drawing | null = null;
  private raised: Float64Array = new Float64Array(0);
  private waiting = false;
  /** Whether the canvas awaits its first picture, and whether that is no longer the one to be shown. */
  private unshown = true;
  private stale = false;
  /** Whether the eye jumped, which is not motion. */
  private jumps = false;
  private placed = new Vector3();
  onPose: (pose: Pose) => void = () => undefined;
  onFrame: () => void = () => undefined;

  /** One of each kind of shape, so that their programs stay on the graphics card. */
  private readonly kinds = kinds();

  /**
   * @param canvas - what is drawn on.
   * @param slices - in which its surfaces are made.
   */
  constructor(readonly canvas: HTMLCanvasElement, private readonly slices: Slices) {
    // Edges are smoothed by drawing more pixels than the page has, so the graphics card's own smoothing is off.
    this.renderer = new WebGLRenderer({ canvas, antialias: false, alpha: true });
    this.unseen = new Unseen(this.renderer, this.lights);
    this.software = inSoftware(this.renderer.getContext());
    this.renderer.debug.checkShaderErrors = false; // or the page waits until each program is compiled
    this.renderer.outputColorSpace = LinearSRGBColorSpace;
    canvas.style.visibility = "hidden";
    this.scene.add(...this.lights, this.cursor, this.upon);
    for (const camera of [this.perspective, this.orthographic]) camera.up.set(0, 0, 1);
    this.controls = this.controlled();
  }

  /** Waits until the programs of a first picture are compiled and have been used, each in a task of its own, so that the page does
   * not stand still for them. */
  async prepared(): Promise<void> {
    const compiled: Promise<unknown>[] = [];
    for (const one of this.kinds.children) {
      await pause();
      compiled.push(this.renderer.compileAsync(one, this.camera, this.scene));
    }
    await Promise.all(compiled);
    for (const one of [...this.kinds.children]) {
      await this.unseen.finished();
      this.unseen.draw(one, this.camera);
    }
  }

  private controlled(): OrbitControls {
    const controls = new OrbitControls(this.camera, this.canvas);
    controls.target.set(0, 0, MIDDLE);
    controls.addEventListener("change", () => {
      if (!this.jumps) this.motion.moved();
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
    this.jumps = true;
    this.controls.update();
    this.jumps = false;
    this.placed = this.camera.position.clone();
    this.render();
    this.onPose(this.pose());
  }

  /** Whether the eye is where `look` has put it, and no reader has turned the relief since. */
  get untouched(): boolean {
    return this.camera.position.equals(this.placed) && this.camera.zoom === 1;
  }

  /** Turn by degrees, or zoom: what the keys do. */
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

  /** Take the pose of another picture, without reporting back. */
  take(pose: Pose, moves = true): void {
    if (moves) this.motion.moved();
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
    // The whole box is visible even if the picture is narrow.
    this.perspective.fov = ratio >= 1.25 ? 26 : (2 * Math.atan((Math.tan((13 * Math.PI) / 180) * 1.25) / ratio) * 180) / Math.PI;
    this.perspective.aspect = ratio;
    const half = Math.max(0.7, 0.9 / ratio);
    Object.assign(this.orthographic, { left: -half * ratio, right: half * ratio, top: half, bottom: -half });
    this.perspective.updateProjectionMatrix();
    this.orthographic.updateProjectionMatrix();
    this.render();
  }

  render(): void {
    this.stale = true;
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.motion.frame();
      if (this.made && !this.unshown) this.paint(); // an empty picture would only keep the page waiting
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

  /** Pixels drawn for one of the page: more at rest, so that edges are smooth, and as few as it takes to move smoothly. */
  private get density(): number {
    const own = Math.min(window.devicePixelRatio || 1, 2);
    if (this.motion.level === LAST) return 0.75 * own;
    return this.motion.moving && (this.software || this.motion.level > 0) ? own : 2;
  }

  /** Draw; what has not changed, such as the surface under a growing path, is not made again. */
  draw(drawing: Drawing): void {
    const same = this.drawing !== null && alike(this.drawing, drawing);
    this.drawing = drawing;
    if (!same) {
      this.raised = heights(drawing.field, drawing.shown, 1);
      this.slices.begin(() => this.build(drawing));
    }
    // Nothing is put on a surface that is still being made.
    if (same && this.made) this.mark();
  }

  private *build(drawing: Drawing): Work<void> {
    const made = yield* ground(drawing);
    yield* this.sent(made.group);
    if (this.made) {
      discard(this.made.group);
      this.scene.remove(this.made.group);
    }
    this.made = made;
    this.scene.add(made.group);
    this.coarse.clear();
    this.motion.restart(this.software && made.points > MANY ? 1 : 0);
    this.quality();
    this.mark();
    if (this.unshown) yield* this.reveal();
  }

  /** Each shape goes to the graphics card in a step of its own, drawn on a hidden picture of one pixel. */
  private *sent(group: Group): Work<void> {
    const shapes: Object3D[] = [];
    group.traverse((one) => void ("geometry" in one && shapes.push(one)));
    for (const one of shapes) {
      one.frustumCulled = false; // nearly always in view, and checking that takes longer than drawing
      yield this.unshown ? this.unseen.finished() : undefined;
      this.unseen.draw(one, this.camera);
    }
    yield;
  }

  /** The canvas is shown once its first picture is finished, since a page freezes while a visible one is drawn. */
  private *reveal(): Work<void> {
    yield;
    this.stale = false;
    this.paint();
    yield this.unseen.finished();
    this.unshown = false;
    this.canvas.style.visibility = "";
    if (this.stale) this.render();
    else this.onFrame();
  }

  /** What lies on the surface. */
  private mark(): void {
    discard(this.upon);
    this.scene.remove(this.upon);
    this.upon = new Group();
    this.scene.add(this.upon);
    const box = this.box;
    if (this.drawing && box) addMarks(this.upon, { ...this.drawing, raised: this.raised, placed: (points, lift) => box.placed(points, lift) });
    this.render();
  }

  private get box(): Box | null {
    return this.drawing && new Box(this.drawing);
  }

  /** While it moves too slowly, fewer facets, then no lines and fewer pixels; as soon as it rests, all of them. */
  private quality(): void {
    const level = this.made ? this.motion.level : 0;
    if (level > 0 && !this.coarse.has(level)) this.coarse.set(level, this.addCoarse(this.made!, level));
    for (const [of, group] of this.coarse) group.visible = of === level;
    if (this.made) this.made.full.visible = level === 0;
    if (this.renderer.getPixelRatio() !== this.density) this.renderer.setPixelRatio(this.density);
    this.render();
  }

  private addCoarse(made: Ground, level: number): Group {
    const drawing = this.drawing!;
    const few = thinned(made.fine, FEW[level]!);
    const cut = whole(surface(few, drawing.shown.top));
    const group = new Group();
    made.group.add(group);
    whole(addSurface(group, drawing, few, cut));
    if (drawing.contours && level < LAST) addLines(group, drawing, whole(contours(cut, drawing.shown.levels)));
    return group;
  }

  /** The cursor: a ball on the surface and a thread to the floor. */
  point(place: { x: number; y: number } | null): void {
    discard(this.cursor);
    this.cursor.clear();
    if (place && this.drawing) {
      const { field, shown, ink } = this.drawing;
      const z = field.between(this.raised.map((one) => Math.min(one, shown.top)), place.x, place.y);
      const [x, y, up] = this.box!.at(place.x, place.y, Number.isNaN(z) ? shown.bottom : z);
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
    const hit = this.made ? ray.intersectObject(this.made.mesh, false)[0]?.point : undefined;
    const { limits } = this.drawing;
    const [wide, deep] = this.box!.sides;
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

  /** The surface in full; its colours are those before it is lit. */
  get shape(): Shape | null {
    if (!this.pointCount || !this.drawing) return null;
    const { attributes, index } = this.made!.mesh.geometry;
    const taken = (name: string): Float32Array => attributes[name]!.array as Float32Array;
    return { name: this.drawing.field.block.title, points: taken("position"), normals: taken("normal"), colours: taken("color"), triangles: index!.array as Uint32Array };
  }

  /** Of the surface; 0 while it is made for the first time. */
  get pointCount(): number {
    return this.made?.points ?? 0;
  }

  /** Whether the surface is there, even if only to say that no cell has a value. */
  get complete(): boolean {
    return this.made !== null && !this.unshown;
  }

  /** For tests: how much is left out while it moves, 0 for nothing. */
  get level(): number {
    return this.motion.level;
  }

  get frameOf(): { sides: [number, number]; floor: number; tall: number } {
    return { sides: this.box?.sides ?? [1, 1], floor: -FLOOR, tall: TALL };
  }

  free(): void {
    this.motion.stop();
    this.slices.stop();
    for (const one of [this.scene, this.kinds]) discard(one);
    this.controls.dispose();
    this.unseen.free();
    this.renderer.dispose();
  }
}

const PLANE = new Plane(new Vector3(0, 0, 1), FLOOR);
