/** How do the values of a page leave it? As a table (csv) or as arrays for NumPy (npz), made from its content. */

import type { Block, Content, Curve, Numbers } from "./data";

export function save(name: string, kind: string, content: BlobPart): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: kind }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const quoted = (text: string): string => `"${text.replace(/"/g, '""')}"`;

/** All cells of all panels: coordinates, status and values; of lines, their median and the band around it. */
export function csv(content: Content): string {
  const lines = content.blocks.length ? cells(content) : curves(content);
  return lines.join("\n") + "\n";
}

function cells(content: Content): string[] {
  const lines = [["landscape", ...content.blocks[0]!.axes.map((axis) => quoted(axis.name)), "status", ...content.values.map(quoted)].join(",")];
  for (const block of content.blocks) {
    const [nx, ny] = [block.axes[0]!.coordinates.length, block.axes[1]!.coordinates.length];
    block.status.data.forEach((status, p) => {
      const at = [p % nx, Math.floor(p / nx) % ny, Math.floor(p / (nx * ny))];
      const place = block.axes.map((axis, n) => String(axis.coordinates[at[n]!]));
      const name = status === 1 ? "ok" : (content.reasons[String(status)] ?? "");
      lines.push([quoted(block.title), ...place, name, ...content.values.map((value) => String(block.values[value]!.data[p]))].join(","));
    });
  }
  return lines;
}

function curves(content: Content): string[] {
  const names = content.values.flatMap((value) => [value, `${value}: lowest`, `${value}: highest`]);
  const lines = [["landscape", quoted(content.curves[0]?.axis.name ?? ""), ...names.map(quoted)].join(",")];
  for (const curve of content.curves)
    curve.axis.coordinates.forEach((place, n) => {
      const row = content.values.flatMap((value) => [curve.median[value]![n], curve.band[value]![0]![n], curve.band[value]![1]![n]]);
      lines.push([quoted(curve.title), place, ...row].map(String).join(","));
    });
  return lines;
}

/** A NumPy file: shape as in Python, [i, j, k]; what is stored k first is the same memory in Fortran's order. */
function npy(data: Float64Array | Uint8Array, shape: number[]): Uint8Array {
  const kind = data instanceof Float64Array ? "<f8" : "|u1";
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  const words = `{'descr': '${kind}', 'fortran_order': True, 'shape': ${tuple}, }`;
  const head = words.padEnd(Math.ceil((words.length + 11) / 64) * 64 - 11) + "\n";
  const out = new Uint8Array(10 + head.length + data.byteLength);
  out.set([0x93, ...[..."NUMPY"].map((letter) => letter.charCodeAt(0)), 1, 0, head.length & 255, head.length >> 8]);
  out.set(new TextEncoder().encode(head), 10);
  out.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), 10 + head.length);
  return out;
}

function ofBlock(block: Block, values: string[]): [string, Uint8Array][] {
  const sizes = block.axes.map((axis) => axis.coordinates.length);
  const grid = (numbers: Numbers | Block["status"]): Uint8Array => npy(numbers.data, sizes);
  return [
    ...block.axes.map((axis): [string, Uint8Array] => [axis.name, npy(axis.coordinates, [axis.coordinates.length])]),
    ...values.map((value): [string, Uint8Array] => [value, grid(block.values[value]!)]),
    ...(block.status.data.every((status) => status === 1) ? [] : [["status of cells", grid(block.status)] as [string, Uint8Array]]),
  ];
}

function ofCurve(curve: Curve, values: string[]): [string, Uint8Array][] {
  const row = (data: Float64Array): Uint8Array => npy(data, [data.length]);
  return [
    [curve.axis.name, row(curve.axis.coordinates)],
    ...values.flatMap((value): [string, Uint8Array][] => [
      [value, row(curve.median[value]!)],
      ...(curve.runs > 1 ? [[`${value}: lowest`, row(curve.band[value]![0]!)], [`${value}: highest`, row(curve.band[value]![1]!)]] as [string, Uint8Array][] : []),
    ]),
  ];
}

/** What `numpy.load` and `lossatlas import` read: x, y, the values [i, j], and where not every cell was evaluated the status of each; of several landscapes "1/x", "2/x", …. */
export function npz(content: Content): Uint8Array<ArrayBuffer> {
  const all = content.blocks.length ? content.blocks.map((block) => ofBlock(block, content.values)) : content.curves.map((curve) => ofCurve(curve, content.values));
  const named = all.flatMap((arrays, n) => arrays.map(([name, bytes]): [string, Uint8Array] => [`${all.length > 1 ? `${n + 1}/` : ""}${name}.npy`, bytes]));
  return zipped(named);
}

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

function crc(bytes: Uint8Array): number {
  let found = 0xffffffff;
  for (const byte of bytes) found = TABLE[(found ^ byte) & 255]! ^ (found >>> 8);
  return (found ^ 0xffffffff) >>> 0;
}

/** A zip archive whose files are stored as they are (PKWARE's APPNOTE, 4.3). */
export function zipped(files: [string, Uint8Array][]): Uint8Array<ArrayBuffer> {
  const [parts, directory]: [Uint8Array[], Uint8Array[]] = [[], []];
  let place = 0;
  const record = (signature: number, shorts: number[], name: Uint8Array, bytes: Uint8Array, after: number[]): Uint8Array => {
    const view = new DataView(new ArrayBuffer(4 + 2 * shorts.length + 12 + 4 + after.reduce((sum, size) => sum + size, 0)));
    view.setUint32(0, signature, true);
    shorts.forEach((short, n) => view.setUint16(4 + 2 * n, short, true));
    const at = 4 + 2 * shorts.length;
    [crc(bytes), bytes.length, bytes.length].forEach((long, n) => view.setUint32(at + 4 * n, long, true));
    view.setUint16(at + 12, name.length, true);
    return new Uint8Array(view.buffer);
  };
  // Version 2.0, names in UTF-8, stored, 1 January 1980.
  const common = [20, 0x800, 0, 0, 0x21];
  for (const [words, bytes] of files) {
    const name = new TextEncoder().encode(words);
    const head = record(0x04034b50, common, name, bytes, []);
    const entry = record(0x02014b50, [20, ...common], name, bytes, [2, 2, 2, 4, 4]);
    new DataView(entry.buffer).setUint32(entry.length - 4, place, true);
    parts.push(head, name, bytes);
    directory.push(entry, name);
    place += head.length + name.length + bytes.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054b50, true);
  end.setUint16(8, files.length, true);
  end.setUint16(10, files.length, true);
  end.setUint32(12, size, true);
  end.setUint32(16, place, true);
  return joined([...parts, ...directory, new Uint8Array(end.buffer)]);
}

export function joined(parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let place = 0;
  for (const part of parts) {
    out.set(part, place);
    place += part.length;
  }
  return out;
}
