/** How does what is seen become a figure of a paper? Drawn by the same code as `lossatlas draw`, with the words to repeat it. */

import { useState } from "preact/hooks";
import { save } from "./app";
import type { Content } from "./data";
import type { Shown } from "./ranges";
import { figure, type Card } from "./server";
import { clipped, logarithmic, type State } from "./state";

type Fields = Record<string, string | number | boolean>;

/** What of the reader's choices a View has a field for. */
export function fields(content: Content, state: State, shown: Shown, kind: string, title: string): Fields {
  const found: Fields = { value: state.value, kind };
  found["scale"] = logarithmic(content, state) ? "log" : "linear";
  if (state.low !== null) found["vmin"] = shown.low;
  if (state.high !== null) found["vmax"] = shown.high;
  else if (!clipped(content, state)) found["clip"] = "none";
  if (title) found["title"] = title;
  if (kind === "surface" && state.contours) found["contours"] = true;
  return found;
}

const shell = (text: string): string => (/^[\w./-]+$/.test(text) ? text : `'${text.replace(/'/g, `'\\''`)}'`);
const python = (value: string | number | boolean): string =>
  value === "none" ? "None" : typeof value === "string" ? JSON.stringify(value) : value === true ? "True" : String(value);

export function command(cards: Card[], asked: Fields, format: string): string {
  const options = Object.entries(asked).map(([name, value]) => (value === true ? `--${name}` : `--${name} ${shell(String(value))}`));
  return ["lossatlas draw", ...cards.map((card) => shell(card.path)), `-o figure.${format}`, ...options].join(" ");
}

export function program(cards: Card[], asked: Fields, format: string): string {
  const opened = cards.map((card) => `la.open(${JSON.stringify(card.path)})`).join(", ");
  const options = Object.entries(asked).map(([name, value]) => `${name}=${python(value)}`).join(", ");
  return `import lossatlas as la\n\nla.draw([${opened}], "figure.${format}", ${options})`;
}

export function FigurePanel({ cards, content, state, shown }: { cards: Card[]; content: Content; state: State; shown: Shown }) {
  const [kind, setKind] = useState(content.curves.length ? "line" : "filled");
  const [format, setFormat] = useState("pdf");
  const [title, setTitle] = useState("");
  const [seen, setSeen] = useState<string | null>(null);
  const [fault, setFault] = useState("");
  const asked = fields(content, state, shown, kind, title);
  const make = async (preview: boolean): Promise<void> => {
    setFault("");
    try {
      const made = await figure(cards.map((card) => card.id), { ...asked, format: preview ? "svg" : format });
      if (!preview) return save(`figure.${format}`, made.type, made);
      if (seen) URL.revokeObjectURL(seen);
      setSeen(URL.createObjectURL(made));
    } catch (found) {
      setFault(String((found as Error).message));
    }
  };
  return (
    <details id="figure">
      <summary>A figure for the paper</summary>
      <form onSubmit={(event) => event.preventDefault()}>
        {content.blocks.length > 0 && (
          <label>kind <select id="figure-kind" value={kind} onChange={(event) => setKind(event.currentTarget.value)}>
            {["filled", "contour", "heat", "surface"].map((one) => <option key={one} value={one}>{one}</option>)}
          </select></label>
        )}
        <label>title <input id="figure-title" type="search" value={title} onInput={(event) => setTitle(event.currentTarget.value)} /></label>
        <label>format <select id="figure-format" value={format} onChange={(event) => setFormat(event.currentTarget.value)}>
          {["pdf", "svg", "png", "html"].map((one) => <option key={one} value={one}>{one}</option>)}
        </select></label>
        <button type="button" id="figure-preview" onClick={() => void make(true)}>Preview</button>
        <button type="button" id="figure-save" onClick={() => void make(false)}>Download</button>
      </form>
      {fault && <p role="alert">{fault}</p>}
      {seen && <img class="preview" src={seen} alt="Preview of the figure" />}
      <pre>{command(cards, asked, format)}</pre>
      <pre>{program(cards, asked, format)}</pre>
    </details>
  );
}
