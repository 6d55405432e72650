/** What does the page get? The types of its content, and how packed arrays become typed ones. */

export type ScaleName = "linear" | "log" | "symlog";

export interface Look {
  scale: ScaleName;
  low: number;
  high: number;
  linear_below: number | null;
  bottom: number;
  top: number;
  levels: number[];
  ticks: number[];
  labels: string[];
  clipped: boolean;
  words: string;
}

export interface Axis {
  name: string;
  label: string;
  coordinates: Float64Array;
  length: number | null;
  /** What a coordinate is; empty where nobody knows. */
  counted: string;
}

/** A typed array with its shape; blocks have [k, j, i]. */
export interface Numbers {
  shape: number[];
  data: Float64Array;
}

export interface Block {
  title: string;
  note: string;
  axes: Axis[];
  centre: boolean;
  status: { shape: number[]; data: Uint8Array };
  values: Record<string, Numbers>;
  errors: Record<string, Record<string, Numbers>>;
  /** Regions that a reader may show, such as basins; for blocks with two axes. */
  layers?: Layer[];
  /** A map of curvature of the same plane, on its own grid. */
  ratio?: RatioMap;
}

/** |λmin/λmax|; values and status [j, i]. */
export interface RatioMap {
  x: Float64Array;
  y: Float64Array;
  values: Numbers;
  status: { shape: number[]; data: Uint8Array };
}

export interface Layer {
  name: string;
  words: string;
  /** What each region is. */
  regions: string[];
  /** [j, i], the number of the region; 255 for none. */
  cells: { shape: number[]; data: Uint8Array };
  /** Single places, such as minima. */
  marks: Pick<Places, "label" | "x" | "y" | "words" | "symbol">[];
}

export interface Curve {
  title: string;
  axis: Axis;
  runs: number;
  centre: boolean;
  median: Record<string, Float64Array>;
  band: Record<string, Float64Array[]>;
  empty: Record<string, [number, number, string][]>;
}

interface Common {
  panel: number | null;
  label: string;
}
export interface Way extends Common {
  kind: "path";
  x: Float64Array;
  y: Float64Array;
  words: string[];
  colour: string;
  dots: boolean;
  /** At which points an arrow shows the way. */
  arrows: number[];
  /** Further numbers at every point, by what they are. */
  along: Record<string, Float64Array>;
}
export interface Places extends Common {
  kind: "points";
  x: Float64Array;
  y: Float64Array;
  words: string[];
  colour: string;
  symbol: "circle" | "triangle" | "square" | "cross";
}
export interface Regions extends Common {
  kind: "regions";
  cells: Numbers;
  /** One for each region, repeated in turn; if left out, those of the content. */
  colours?: string[];
  /** Each cell only in its own colour, with no lines between cells. */
  plain?: boolean;
}
export type Overlay = Way | Places | Regions;

/** As figure/palettes.py has them; "talk" is light with larger type, "print" in greys. */
export type ThemeName = "light" | "dark" | "talk" | "print";

export interface Theme {
  paper: string;
  ink: string;
  faint: string;
  lines: string[];
}

export interface Content {
  heading: string;
  kind: string;
  value: string;
  label: string;
  alongside: string[];
  values: string[];
  /** Errors that can be drawn like values; filled in by the page. */
  layers?: string[];
  log: boolean;
  clip: boolean;
  theme: ThemeName;
  themes: Record<ThemeName, Theme>;
  regions: string[];
  maps: Record<string, string[]>;
  colours: Record<string, string>;
  camera: [number, number];
  limits: Record<string, [number, number]>;
  looks: Record<string, Look>;
  first: Look;
  beside: (Omit<Look, "words"> & { names: string[] }) | null;
  reasons: Record<string, string>;
  points: boolean;
  contours: boolean;
  blocks: Block[];
  overlays: Overlay[];
  curves: Curve[];
  facts: Record<string, string>[];
  caption: Record<string, string>;
}

type Packed = { $: [number, "f8" | "u1", number[]] };

function isPacked(part: object): part is Packed {
  return Array.isArray((part as { $?: unknown }).$) && Object.keys(part).length === 1;
}

/** One-dimensional arrays become typed arrays; others keep their shape beside them. */
export function unpack(content: unknown, bytes: ArrayBuffer): Content {
  const opened = (part: unknown): unknown => {
    if (Array.isArray(part)) return part.map(opened);
    if (part === null || typeof part !== "object") return part;
    if (isPacked(part)) {
      const [offset, kind, shape] = part.$;
      const size = shape.reduce((a, b) => a * b, 1);
      const data = kind === "f8" ? new Float64Array(bytes, offset, size) : new Uint8Array(bytes, offset, size);
      return shape.length === 1 ? data : { shape, data };
    }
    return Object.fromEntries(Object.entries(part).map(([name, inner]) => [name, opened(inner)]));
  };
  return opened(content) as Content;
}

export function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let n = 0; n < text.length; n++) bytes[n] = text.charCodeAt(n);
  return bytes;
}

/** The content embedded in the page; nothing if the page is served. */
export function inside(page: Document): Content | null {
  const words = page.getElementById("data")?.textContent;
  if (!words) return null;
  return unpack(JSON.parse(words), bytesOf(page.getElementById("arrays")?.textContent ?? "").buffer);
}
