/** What is there besides reliefs? Words, tables and pictures of a result, and the numbers of a comparison. */

import { useEffect, useState } from "preact/hooks";
import { compared, pictureOf, sheet, type Sheet } from "./server";

/** A cell that is a number, perhaps with its unit or its interval. */
const NUMBER = /^[-−]?[\d.∞].{0,40}$/;

export function Tables({ found }: { found: Sheet }) {
  return (
    <>
      {found.tables.filter((table) => table.rows.length).map((table) => (
        <div class="numbers" key={table.name} tabIndex={0} role="region" aria-label={table.name}>
          <table>
            <caption dir="auto">{table.name}</caption>
            <thead><tr>{Object.keys(table.rows[0]!).map((name) => <th key={name} scope="col" dir="auto">{name}</th>)}</tr></thead>
            <tbody>
              {table.rows.map((row, n) => (
                <tr key={n}>{Object.values(row).map((cell, k) => (k ? <td key={k} class={NUMBER.test(cell) ? "number" : ""} dir="auto">{cell}</td> : <th key={k} scope="row" dir="auto">{cell}</th>))}</tr>
              ))}
            </tbody>
          </table>
        </div>
      ))}
      {found.words.map((words, n) => <p key={n} dir="auto">{words}</p>)}
    </>
  );
}

function useSheet(ask: () => Promise<Sheet>, key: string): [Sheet | null, string] {
  const [found, setFound] = useState<Sheet | null>(null);
  const [fault, setFault] = useState("");
  useEffect(() => void ask().then(setFound, (reason: Error) => setFault(reason.message)), [key]);
  return [found, fault];
}

/** A result that is not a field: a connection, a table of flatness, a study. */
export function SheetPage({ id }: { id: string }) {
  const [found, fault] = useSheet(() => sheet(id), id);
  useEffect(() => {
    document.documentElement.dataset["ready"] = "";
  }, [found]);
  return (
    <main class="sheet">
      <nav><a href="#/">All results</a></nav>
      {fault && <p role="alert">{fault}</p>}
      {found && <h1 dir="auto">{found.title}</h1>}
      {found && Array.from({ length: found.pictures }, (_, n) => <img key={n} class="preview" loading="lazy" src={pictureOf(id, n)} alt={`Picture ${n + 1} of ${found.title}`} />)}
      {found && <Tables found={found} />}
    </main>
  );
}

/** Measures of what is compared, with intervals, and whether models differ by more than their directions do. */
export function Measures({ ids, version }: { ids: string[]; version: string }) {
  const [found, fault] = useSheet(() => compared(ids), ids.join() + version);
  return (
    <section id="measures" aria-label="Measures of what is compared">
      <h2>Measures</h2>
      {fault && <p role="alert">{fault}</p>}
      {found ? <Tables found={found} /> : !fault && <p class="hint">Measuring …</p>}
    </section>
  );
}
