/** Reads the files of one part: their bytes against what is recorded, and their rows side by side. */
import * as Either from "effect/Either";
import * as DigestList from "../DigestList.ts";
import type { Part } from "../Manifest.ts";
import * as Formats from "../../format/Formats.ts";
import * as PartReader from "../PartReader.ts";
import { faults, type Note, wordsOf } from "./Problems.ts";
import * as SafeFile from "../../sink/SafeFile.ts";
import * as Duplicates from "./Duplicates.ts";
import {
  difference,
  type Flaw,
  initiatedAt,
  keyOf,
  plain,
  type Row,
  type Written,
} from "../../format/DecodedRow.ts";
import type { Stated } from "./Inventory.ts";

interface Progress {
  rows: number;
}

/** A file of a part, as far as its bytes tell. */
export interface FileState {
  readonly part: Part;
  /** True if its bytes are those that were written. */
  readonly intact: boolean;
}

/** Compares a file's bytes with what is recorded; undefined if it can't be read at all. */
export const checkBytes = async (root: string, part: Part, note: Note): Promise<FileState | undefined> => {
  try {
    const { bytes, sha256 } = await PartReader.sumOf(root, part);
    const intact = bytes === part.bytes && sha256 === part.sha256;
    if (bytes !== part.bytes) note(part.path, `has ${bytes} bytes, not ${part.bytes}`);
    else if (!intact) {
      note(part.path, `has been changed since it was written: its sha256 is ${sha256}, not ${part.sha256}`);
    }
    return { part, intact };
  } catch (error) {
    const isMissing = SafeFile.isMissing(error);
    note(
      part.path,
      isMissing ? `is missing, with its ${part.rows} rows` : `can't be read: ${wordsOf(error)}`,
    );
    return undefined;
  }
};

interface Reading {
  readonly file: FileState;
  readonly written: Written;
  readonly source: AsyncGenerator<ReadonlyArray<Row | Flaw>>;
  readonly keys: DigestList.Keys;
  readonly flawed: ReturnType<typeof faults>;
  readonly differing: ReturnType<typeof faults>;
  batch: ReadonlyArray<Row | Flaw>;
  at: number;
  rows: number;
  isOver: boolean;
  isBroken: boolean;
  min: number;
  max: number;
}

const begin = (stated: Stated, file: FileState, note: Note): Reading => {
  const { path, run, rows } = file.part;
  const toldOf = (problem: string) => note(path, problem);
  const written = PartReader.writtenBy(file.part, stated.runs.get(run)?.options);
  return {
    file,
    written,
    source: PartReader.rows(stated.root, file.part, written),
    keys: DigestList.make(Math.min(rows, 1 << 20)),
    flawed: faults(toldOf),
    differing: faults(toldOf),
    batch: [],
    at: 0,
    rows: 0,
    isOver: false,
    isBroken: false,
    min: Infinity,
    max: -Infinity,
  };
};

const fetchMore = async (reading: Reading, note: Note): Promise<void> => {
  try {
    const { done, value } = await reading.source.next();
    reading.at = 0;
    reading.batch = done ? [] : value;
    reading.isOver = done === true;
  } catch (error) {
    reading.isOver = reading.isBroken = true;
    const where = reading.rows === 0 ? "can't be read" : `can't be read on from row ${reading.rows + 1}`;
    note(reading.file.part.path, `${where}: ${wordsOf(error)}`);
  }
};

const areNone = "more rows than can be told are none of a dataset";

const giveUp = (reading: Reading, note: Note): void => {
  if (reading.isOver || !reading.flawed.areTooMany()) return;
  reading.isOver = reading.isBroken = true;
  note(reading.file.part.path, `was not read on from row ${reading.rows + 1}: ${areNone}`);
};

/** Note what is wrong with a file once all its rows are read. */
const conclude = ({ file: { part }, flawed, differing, ...reading }: Reading, note: Note): void => {
  flawed.tell();
  differing.tell();
  if (reading.isBroken) return;
  if (reading.rows !== part.rows) note(part.path, `has ${reading.rows} rows, not ${part.rows}`);
  if (flawed.any()) return;
  const { min, max } = part.initiated_at ?? { min: Infinity, max: -Infinity };
  if (reading.min === min && reading.max === max) return;
  const range = (from: number, to: number) => from > to ? "nothing" : `${from} to ${to}`;
  note(part.path, `has initiated_at of ${range(reading.min, reading.max)}, not of ${range(min, max)}`);
};

/** Put first the file that the others of its number are compared with: one that is as it was written, and alters no text, if any. */
const byTrust = ({ file: one, written }: Reading, { file: other, written: otherWritten }: Reading): number =>
  Number(other.intact) - Number(one.intact) ||
  Number(otherWritten.text === plain) - Number(written.text === plain) ||
  Formats.byFidelity().indexOf(one.part.format) - Formats.byFidelity().indexOf(other.part.format);

/**
 * Reads the session files of one number side by side; gives the file that the others were compared with. `see` gets its
 * rows.
 */
export const checkRows = async (
  stated: Stated,
  files: ReadonlyArray<FileState>,
  { note, see, signal, progress }: {
    readonly note: Note;
    readonly see: (row: Row, part: Part) => void;
    readonly signal: AbortSignal;
    readonly progress: Progress;
  },
): Promise<{ readonly part: Part; readonly sessions: number; readonly rows: number } | undefined> => {
  // One that is compressed inside, and not as it was written, could make its reader ask for any amount of memory.
  const isGuarded = ({ part }: FileState) => Formats.find(part.format)?.gzip === true;
  const readings = files.filter((file) => file.intact || isGuarded(file))
    .map((file) => begin(stated, file, note)).sort(byTrust);
  const [first] = readings;
  if (first === undefined) return undefined;
  const take = (reading: Reading, row: Row | Flaw, expected: Row | Flaw | undefined) => {
    const number = ++reading.rows;
    if ("flaw" in row) return reading.flawed.add(() => `row ${number} ${row.flaw}`);
    const initiated = initiatedAt(row);
    if (initiated < reading.min) reading.min = initiated;
    if (initiated > reading.max) reading.max = initiated;
    if (reading === first) return see(row, reading.file.part);
    reading.keys.add(keyOf(row));
    if (expected === undefined || "flaw" in expected) return;
    const words = difference(row, expected);
    if (words === undefined) return;
    reading.differing.add(() => `row ${number} is not that of ${first.file.part.path}: ${words}`);
  };
  try {
    while (!signal.aborted) {
      for (const reading of readings) {
        while (!reading.isOver && reading.at === reading.batch.length) await fetchMore(reading, note);
      }
      const open = readings.filter(({ isOver }) => !isOver);
      if (open.length === 0) break;
      const count = Math.min(...open.map(({ batch, at }) => batch.length - at));
      for (let i = 0; i < count; i++) {
        const expected = first.isOver ? undefined : first.batch[first.at];
        for (const reading of open) take(reading, reading.batch[reading.at++]!, expected);
      }
      progress.rows += count * open.length;
      for (const reading of open) giveUp(reading, note);
    }
  } finally {
    for (const { source } of readings) await source.return(undefined);
  }
  for (const reading of readings) {
    conclude(reading, note);
    const { file: { part }, flawed, differing } = reading;
    if (reading === first || !(flawed.any() || differing.any() || reading.rows !== part.rows)) continue;
    const repeated = reading.keys.repeated();
    if (repeated !== undefined) await Duplicates.find(stated, [part], keyOf, repeated, note);
  }
  return {
    part: first.file.part,
    sessions: first.rows,
    rows: readings.reduce((sum, { rows }) => sum + rows, 0),
  };
};

/** Reads a part that holds no sessions: whether each line can be decoded. */
export const checkLines = async (
  root: string,
  part: Part,
  decode: (line: string) => Either.Either<unknown, string>,
  { note, progress }: { readonly note: Note; readonly progress: Progress },
): Promise<number> => {
  let rows = 0;
  const flawed = faults((problem) => note(part.path, problem));
  try {
    for await (const lines of PartReader.lines(root, part)) {
      for (const line of lines) {
        const number = ++rows;
        const decoded = decode(line);
        if (Either.isLeft(decoded)) flawed.add(() => `row ${number} ${decoded.left}`);
      }
      progress.rows += lines.length;
      if (flawed.areTooMany()) throw new Error(areNone);
    }
    if (rows !== part.rows) note(part.path, `has ${rows} rows, not ${part.rows}`);
  } catch (error) {
    note(part.path, `can't be read: ${wordsOf(error)}`);
  }
  flawed.tell();
  return rows;
};
