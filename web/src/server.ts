/** How does a page ask the server it came from? The list, a scene, events, a figure; the token comes in the address. */

import { unpack, type Content } from "./data";

export interface Counts {
  total: number;
  done: number;
  failed: number;
  non_finite: number;
}

export interface Card {
  id: string;
  name: string;
  path: string;
  version: string;
  title: string;
  changed: number;
  kind: string;
  group: string;
  fault?: string;
  words?: string;
  range?: [number, number];
  model?: string;
  data?: string;
  seed?: string;
  axes?: Record<string, number>;
  values?: string[];
  counts?: Counts;
  finished?: boolean;
  /** Share of the rise and fall along rays from the centre that falls again; it comes after the first list. */
  ruggedness?: number;
}

export interface Progress extends Partial<Counts> {
  kind?: string;
  version: string;
  finished?: boolean;
  rate?: number;
  left?: number;
}

/** Take the token out of the address, so that it is not copied along with it. */
export function token(): string {
  const found = /(?:^#|&)token=([\w-]+)/.exec(location.hash)?.[1];
  if (found) {
    sessionStorage.setItem("token", found);
    const run = /&run=([0-9a-f]{12})/.exec(location.hash)?.[1];
    history.replaceState(null, "", run ? `/#/run/${run}` : "/#/");
  }
  return sessionStorage.getItem("token") ?? "";
}

const query = (ids: string[]): string => ids.map((id) => `run=${encodeURIComponent(id)}`).join("&");

async function answered(answer: Response): Promise<Response> {
  if (answer.ok) return answer;
  const text = await answer.text();
  let words = text;
  try {
    words = (JSON.parse(text) as { fault?: string }).fault ?? text;
  } catch {
    // not JSON: the text is the reason
  }
  throw new Error(words || answer.statusText);
}

export async function runs(): Promise<Card[]> {
  return (await (await answered(await fetch("/api/runs"))).json()) as Card[];
}

/** uint32 length, JSON, arrays; the arrays are copied so that they begin at 0. */
export function opened(bytes: ArrayBuffer): Content {
  const length = new DataView(bytes).getUint32(0, true);
  const words = new TextDecoder().decode(new Uint8Array(bytes, 4, length));
  return unpack(JSON.parse(words), bytes.slice(4 + length));
}

/** What is drawn of some runs; small: only every n-th point, for a thumbnail. */
export async function scene(ids: string[], small = false): Promise<Content> {
  return opened(await (await answered(await fetch(`/api/scene?${query(ids)}${small ? "&small=1" : ""}`))).arrayBuffer());
}

export function watch(id: string, tell: (progress: Progress) => void): () => void {
  const source = new EventSource(`/api/events?${query([id])}`);
  source.addEventListener("progress", (event) => tell(JSON.parse((event as MessageEvent<string>).data) as Progress));
  return () => source.close();
}

export interface Sheet {
  title: string;
  words: string[];
  tables: { name: string; rows: Record<string, string>[] }[];
  pictures: number;
}

export async function sheet(id: string): Promise<Sheet> {
  return (await (await answered(await fetch(`/api/sheet?${query([id])}`))).json()) as Sheet;
}

export async function compared(ids: string[]): Promise<Sheet> {
  return (await (await answered(await fetch(`/api/compare?${query(ids)}`))).json()) as Sheet;
}

export function pictureOf(id: string, place: number): string {
  return `/api/picture?${query([id])}&picture=${place}`;
}

export async function figure(ids: string[], asked: Record<string, unknown>): Promise<Blob> {
  const headers = { "Content-Type": "application/json", "X-Lossatlas-Token": token() };
  const answer = await fetch(`/api/figure?${query(ids)}`, { method: "POST", headers, body: JSON.stringify(asked) });
  return (await answered(answer)).blob();
}
