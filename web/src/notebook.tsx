/** How is a landscape embedded in a cell of a notebook? In a tree of its own, so that neither changes the other's style. */

import { render } from "preact";
import { App } from "./app";
import { unpack, type Content } from "./data";

/** What a widget knows, by name. */
export interface Model {
  get(name: string): unknown;
}

/** The style of the page, for a tree inside another page. */
export function scoped(style: string): string {
  return style.replace(/:root\[([\w-]+)\]/g, ":host([$1])").replace(/:root/g, ":host").replace(/(^|[\s,}])body(?=[\s{,])/g, "$1.page");
}

function bytes(given: unknown): ArrayBuffer {
  const view = given as DataView | ArrayBuffer;
  if (view instanceof ArrayBuffer) return view;
  return new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength).slice().buffer;
}

function Caption({ content }: { content: Content }) {
  return (
    <section id="caption" aria-label="Caption">
      {Object.entries(content.caption).filter(([, words]) => words).map(([name, words]) => <p key={name} id={name} dir="auto">{words}</p>)}
    </section>
  );
}

/** Draw into an element; the returned function removes everything again. */
export function Notebook(model: Model, element: HTMLElement): () => void {
  const content = unpack(JSON.parse(model.get("words") as string), bytes(model.get("arrays")));
  const root = element.shadowRoot ?? element.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(scoped(model.get("look") as string));
  root.adoptedStyleSheets = [sheet];
  const page = document.createElement("div");
  page.className = "page";
  root.replaceChildren(page);
  // A key that turns a relief must not be a command of the notebook.
  const stop = (event: Event): void => event.stopPropagation();
  page.addEventListener("keydown", stop);
  render(<><App content={content} host={element} /><Caption content={content} /></>, page);
  return () => render(null, page);
}
