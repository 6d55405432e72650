/** How does what is on screen become a figure for a paper? Drawn by the same code as `lossatlas draw`, with the command that repeats it. */

import { useState } from "preact/hooks";
import type { Content } from "./data";
import type { Shown } from "./ranges";
import { save } from "./save";
import { figure, type Card } from "./server";
import { clipped, logarithmic, type State } from "./state";

export type Fields = Record<string, string | number | boolean>;

/** What a reader may set about a figure's page, by the names of the fields of Paper; left out if empty. */
const NUMBERS = ["font_size", "levels"];

/** What applies only on paper, as in `lossatlas draw`. */
const PRINTED = ["width", "height", "font", "font_size", "x_label", "y_label", "letters", "caption"];

/** The reader's choices for which a View has a field. */
export function fields(content: Content, state: State, shown: Shown, kind: string, paper: Record<string, string>): Fields {
  const found: Fields = { value: state.value, kind };
  found["scale"] = logarithmic(content, state) ? "log" : "linear";
  if (state.low !== null) found["vmin"] = shown.low;
  if (state.high !== null) found["vmax"] = shown.high;
  else if (!clipped(content, state)) found["clip"] = "none";
  if (kind === "surface" && state.contours) found["contours"] = true;
  if (state.colours) found["colours"] = state.colours;
  for (const [name, given] of Object.entries(paper)) {
    const text = given.trim();
    if (!text) continue;
    if (name === "letters") found[name] = true;
    else found[name] = NUMBERS.includes(name) && Number.isFinite(Number(text)) ? Number(text) : text;
  }
  return found;
}

/** Those that a format shows: `lossatlas draw` refuses the others. */
function fitting(asked: Fields, format: string): Fields {
  return format === "html" ? Object.fromEntries(Object.entries(asked).filter(([name]) => !PRINTED.includes(name))) : asked;
}

const shell = (text: string): string => (/^[\w./-]+$/.test(text) ? text : `'${text.replace(/'/g, `'\\''`)}'`);
const python = (value: string | number | boolean): string =>
  value === "none" ? "None" : typeof value === "string" ? JSON.stringify(value) : value === true ? "True" : String(value);

/** Names for results that have one title: the last parts of their paths, as the server names them. */
function names(cards: Card[]): string[] {
  if (new Set(cards.map((card) => card.title)).size === cards.length) return [];
  const short = cards.map((card) => card.name.replace(/^.*\//, "").replace(/\.nc$/, ""));
  return new Set(short).size === short.length ? short : cards.map((card) => card.name);
}

export function command(cards: Card[], asked: Fields, format: string): string {
  const called = names(cards);
  const flag = (name: string): string => `--${name.replace(/_/g, "-")}`;
  const options = Object.entries(asked).map(([name, value]) => (value === true ? flag(name) : `${flag(name)} ${shell(String(value))}`));
  const runs = cards.map((card, n) => (called[n] ? `--label ${shell(`${called[n]}=${card.path}`)}` : shell(card.path)));
  return ["lossatlas draw", ...runs, `-o figure.${format}`, ...options].join(" ");
}

export function program(cards: Card[], asked: Fields, format: string): string {
  const opened = cards.map((card) => `la.open(${JSON.stringify(card.path)})`).join(", ");
  const called = names(cards).length ? `, labels=${JSON.stringify(names(cards))}` : "";
  const options = Object.entries(asked).map(([name, value]) => `${name}=${name === "caption" ? JSON.stringify(value) : python(value)}`).join(", ");
  return `import lossatlas as la\n\nla.draw(${cards.length > 1 ? `[${opened}]` : opened}, "figure.${format}"${called}, ${options})`;
}

interface Box {
  name: string;
  words: string;
  hint?: string;
  among?: string[];
}

/** The fields of the form, in its order; an empty one is left to lossatlas. */
const BOXES: Box[] = [
  { name: "title", words: "title" },
  { name: "width", words: "width", hint: "text or 84mm" },
  { name: "height", words: "height", hint: "as needed" },
  { name: "font", words: "font", among: ["", "sans-serif", "serif", "monospace"] },
  { name: "font_size", words: "type, pt", hint: "8" },
  { name: "x_label", words: "x label", hint: "its name" },
  { name: "y_label", words: "y label", hint: "its name" },
  { name: "value_label", words: "value label", hint: "its name" },
  { name: "levels", words: "levels", hint: "12" },
  { name: "caption", words: "caption", among: ["", "short", "full", "none"] },
  { name: "theme", words: "theme", among: ["", "light", "dark", "talk", "print"] },
  { name: "letters", words: "letters", among: ["", "(a), (b), …"] },
];

export function FigurePanel({ cards, content, state, shown }: { cards: Card[]; content: Content; state: State; shown: Shown }) {
  const maps = content.blocks.length > 0;
  const [kind, setKind] = useState(maps ? "filled" : "line");
  const [format, setFormat] = useState("pdf");
  const [paper, setPaper] = useState<Record<string, string>>(state.theme === "print" ? { theme: "print" } : {});
  const [seen, setSeen] = useState<string | null>(null);
  const [fault, setFault] = useState("");
  const asked = fields(content, state, shown, kind, paper);
  const fit = fitting(asked, format);
  const make = async (preview: boolean): Promise<void> => {
    setFault("");
    try {
      const made = await figure(cards.map((card) => card.id), preview ? { ...asked, format: "svg" } : { ...fit, format });
      if (!preview) return save(`figure.${format}`, made.type, made);
      if (seen) URL.revokeObjectURL(seen);
      setSeen(URL.createObjectURL(made));
    } catch (found) {
      setFault(String((found as Error).message));
    }
  };
  const put = (name: string, value: string): void => setPaper({ ...paper, [name]: value });
  return (
    <details id="figure">
      <summary>A figure for the paper</summary>
      <form onSubmit={(event) => (event.preventDefault(), void make(true))}>
        {maps && (
          <label>kind <select id="figure-kind" value={kind} onChange={(event) => setKind(event.currentTarget.value)}>
            {["filled", "contour", "heat", "surface"].map((one) => <option key={one} value={one}>{one}</option>)}
          </select></label>
        )}
        {BOXES.filter((box) => maps || !["levels", "y_label"].includes(box.name)).map(({ name, words, hint, among }) => (
          <label key={name}>{words} {among ? (
            <select id={`figure-${name}`} value={paper[name] ?? ""} onChange={(event) => put(name, event.currentTarget.value)}>
              {among.map((one) => <option key={one} value={one}>{one || "as usual"}</option>)}
            </select>
          ) : (
            <input id={`figure-${name}`} class={name === "title" || name.endsWith("label") ? "" : "brief"} type="search" placeholder={hint ?? ""} value={paper[name] ?? ""} onInput={(event) => put(name, event.currentTarget.value)} />
          )}</label>
        ))}
        <label>format <select id="figure-format" value={format} onChange={(event) => setFormat(event.currentTarget.value)}>
          {["pdf", "svg", "png", "html"].map((one) => <option key={one} value={one}>{one}</option>)}
        </select></label>
        <button type="button" id="figure-preview" onClick={() => void make(true)}>Preview</button>
        <button type="button" id="figure-save" onClick={() => void make(false)}>Download</button>
      </form>
      {fault && <p role="alert">{fault}</p>}
      {seen && <img class="preview" src={seen} alt="Preview of the figure" />}
      {format === "html" && <p class="hint">The preview shows the printed picture; html is this page with its data in one file, without width, type, caption, letters and labels of axes.</p>}
      {cards.every((card) => card.kind !== "path") ? (
        <>
          <pre tabIndex={0} aria-label="The command that makes it">{command(cards, fit, format)}</pre>
          <pre tabIndex={0} aria-label="The Python that makes it">{program(cards, fit, format)}</pre>
        </>
      ) : <p class="hint">The plane of a recorded path is this page's own; `lossatlas trajectory` draws paths on surfaces of their network.</p>}
    </details>
  );
}
