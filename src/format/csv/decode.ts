/** Reads sessions off the rows of a CSV file. */
import { Readable } from "node:stream";
import { type CastingContext, type Options, parse } from "csv-parse";
import { parse as parseNow } from "csv-parse/sync";
import * as MemoTable from "../../scan/MemoTable.ts";
import type { Column } from "../../session/Columns.ts";
import { compared, type Flaw, placesIn, type Row, type Value, type Written } from "../DecodedRow.ts";
import type { EncodedFile } from "../Format.ts";

/** A row is no longer than this, in characters: what is longer comes of a quote that is nowhere closed. */
export const LONGEST = 1 << 26;
/** A row has no more cells than this when there is still more of it: only the parser's own cells are held, which are not told. */
const CELLS = 10_000;
/** Rows handed on at a time. */
const ROWS = 1000;

const options: Options = {
  record_delimiter: "\r\n",
  relax_column_count: true,
  max_record_size: LONGEST,
};

/** `""` is the empty text, and nothing at all is null. */
const cast = (text: string, { quoting }: CastingContext): string | null =>
  text === "" && !quoting ? null : text;

export type Cells = ReadonlyArray<string | null>;

/**
 * The cells of a row. The parser tells `""` from nothing at all only if it is asked about every cell, which takes three
 * times as long as to parse; so it is asked about rows in which there may be a `""`.
 */
const cellsOf = (record: ReadonlyArray<string>, raw: string): Cells =>
  /(^|,)""(,|\r|$)/.test(raw)
    ? parseNow(raw.replace(/[\r\n]+$/, ""), { ...options, cast })[0] as unknown as Cells
    : record.map((text) => text === "" ? null : text);

/** Read a list of texts; undefined where it is none. Lists come again and again, so they are remembered. */
const listOf = MemoTable.of(1024, (text: string): ReadonlyArray<string> | undefined => {
  try {
    const list: unknown = JSON.parse(text);
    return Array.isArray(list) && list.every((item) => typeof item === "string") ? list : undefined;
  } catch {
    return undefined;
  }
});

const valueOf = ({ kind }: Column, text: string): Value | undefined => {
  switch (kind) {
    case "timestamp": {
      const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(text) ? Date.parse(text) / 1000 : NaN;
      return Number.isInteger(time) ? time : undefined;
    }
    case "number": {
      const number = Number(text);
      return text === String(number) && Number.isFinite(number) ? number : undefined;
    }
    case "text_list":
      return listOf(text);
    default:
      return text;
  }
};

export const rowOf = (
  cells: Cells,
  places: ReadonlyArray<number>,
  { columns: names, text }: Written,
): Row | Flaw => {
  if (cells.length !== names.length) return { flaw: `has ${cells.length} columns, not ${names.length}` };
  const values = new Array<Value | undefined>(compared.length);
  for (let i = 0; i < compared.length; i++) {
    if (places[i] === -1) continue;
    const column = compared[i]!;
    const cell = cells[places[i]!]!;
    if (cell === null && !column.nullable) return { flaw: `has no ${column.name}` };
    const value = cell === null ? null : valueOf(column, cell);
    if (value === undefined) {
      return { flaw: `has ${JSON.stringify(cell)} for ${column.name}, which is no ${column.kind}` };
    }
    values[i] = value;
  }
  return { values, rescued: cells[places[compared.length]!] ?? null, text };
};

/** A row as the parser gives it, with its text. */
interface Raw {
  readonly record: ReadonlyArray<string>;
  readonly raw: string;
}

/** Read the rows of a CSV file. Throws if its header is not its columns. Memory: a chunk, and the rows in it. */
export async function* decode(
  file: EncodedFile,
  written: Written,
): AsyncGenerator<ReadonlyArray<Row | Flaw>> {
  const { columns: names } = written;
  const places = placesIn(names);
  const parser = parse({ ...options, raw: true });
  const { state } = parser as unknown as { readonly state: { readonly record: ReadonlyArray<string> } };
  async function* checked() {
    for await (const chunk of file.chunks()) {
      if (state.record.length > CELLS) throw new Error(`a row has more than ${CELLS} columns`);
      yield chunk;
    }
  }
  const source = Readable.from(checked(), { objectMode: false });
  source.on("error", (error) => parser.destroy(error));
  source.pipe(parser);
  let isHeader = true;
  let batch: Array<Row | Flaw> = [];
  try {
    for await (const { record, raw } of parser as AsyncIterable<Raw>) {
      if (isHeader) {
        isHeader = false;
        if (record.join("\n") !== names.join("\n")) {
          throw new Error(`its header is ${JSON.stringify(record.join())}, not the columns ${names.join()}`);
        }
        continue;
      }
      batch.push(rowOf(cellsOf(record, raw), places, written));
      if (batch.length === ROWS) {
        yield batch;
        batch = [];
      }
    }
  } finally {
    source.destroy();
  }
  if (isHeader) throw new Error("it has no header");
  if (batch.length > 0) yield batch;
}
