/** The destination of an export: the meaning of `--out` and `--format`. */
import { existsSync, lstatSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import * as Effect from "effect/Effect";
import * as Layout from "../../dataset/Layout.ts";
import { type Target, targetOf } from "../../export/FileSet.ts";
import { allColumns } from "../../format/Format.ts";
import * as Formats from "../../format/Formats.ts";
import * as Options from "../../options/Options.ts";
import * as FileSink from "../../sink/FileSink.ts";
import * as SafeFile from "../../sink/SafeFile.ts";
import type { Sink } from "../../sink/Sink.ts";
import * as PipeSink from "../ui/PipeSink.ts";
import { type UsageError, usageError as fail } from "../ExitCode.ts";
import * as Terminal from "../ui/Terminal.ts";

export type Destination =
  | {
    readonly kind: "files";
    readonly targets: ReadonlyArray<Target>;
    readonly quarantine: Sink;
    /** True if results go to standard output, which nothing else may then use. */
    readonly usesStdout: boolean;
    /** True if an output is a pipe, which keeps what it got. */
    readonly usesPipe: boolean;
    /** The files that are there already. */
    readonly replaced: ReadonlyArray<string>;
  }
  | {
    readonly kind: "dataset";
    readonly root: string;
    readonly formats: ReadonlyArray<Formats.Choice>;
  };

const endings = Formats.endings();

/** Tell whether something that is no folder has this name. Under Deno it may be that it may not be looked at. */
export const isFile = (path: string): boolean => {
  try {
    return !lstatSync(path).isDirectory();
  } catch {
    return false;
  }
};

const BOM = Uint8Array.of(0xef, 0xbb, 0xbf);

/** The output, begun with a byte order mark. */
const withBom = (output: Sink): Sink => ({
  ...output,
  open: Effect.map(output.open, (sink) => {
    let isBegun = false;
    return {
      ...sink,
      // The first bytes, which have the header, never lie where the sink would have them.
      write: (bytes) => {
        const before = isBegun ? Effect.void : sink.write(BOM);
        isBegun = true;
        return Effect.zipRight(before, sink.write(bytes));
      },
    };
  }),
});

export interface DestinationOptions extends Formats.FormatOptions {
  readonly quarantine?: string | undefined;
  /** Refuse to replace a file. */
  readonly noClobber: boolean;
  readonly columns?: ReadonlyArray<string> | undefined;
  /** Begin CSV with a byte order mark. */
  readonly csvBom: boolean;
}

type Chosen = Effect.Effect<Destination, UsageError>;

const repeatedFormats = "--format names one format both with and without .gz: choose one of the two";

/** Read what `--format` names. */
const formatsOf = (texts: ReadonlyArray<string>, options: Formats.FormatOptions) =>
  Effect.gen(function* () {
    const names = texts.flatMap((text) => text.split(",")).map((text) => text.trim()).filter((text) => text);
    const formats = yield* Effect.forEach(new Set(names), (name) => {
      const format = Formats.choose(name, options);
      return format === undefined
        ? fail(`--format ${name} is not known: choose of ${Formats.choices().join(", ")}`)
        : Effect.succeed(format);
    });
    const isRepeated = new Set(formats.map(({ format }) => format.name)).size < formats.length;
    return isRepeated ? yield* fail(repeatedFormats) : formats;
  });

/** Say what is wrong with the paths by themselves, if anything. */
const flawIn = (outs: ReadonlyArray<string>, quarantine: string | undefined): string | undefined => {
  if (outs.length === 0) return "Nowhere to export to: give --out, such as --out sessions.csv";
  const isSame = (one: string) => (other: string) => resolve(one) === resolve(other);
  const repeated = outs.find((out, index) => outs.slice(0, index).some(isSame(out)));
  if (repeated !== undefined) return `--out ${repeated} is given twice`;
  if (quarantine !== undefined && outs.some(isSame(quarantine))) {
    return `--quarantine ${quarantine} is also an --out: give it a name of its own`;
  }
  const packed = outs.find((out) =>
    out.endsWith(".gz") && Formats.ofPath(out.slice(0, -3))?.format.gzip === false
  );
  if (packed === undefined) return undefined;
  const { name } = Formats.ofPath(packed.slice(0, -3))!.format;
  return `--out ${packed}: ${name} is compressed inside: leave out the .gz`;
};

/** Tell whether something is at a path, as far as Deno lets us look. */
export const isThere = (path: string): boolean => {
  try {
    return existsSync(path);
  } catch {
    return false;
  }
};

/** Tell whether a folder holds a dataset: its next run would refuse a file that it has not written. */
const isDataset = (folder: string): boolean => {
  const has = (name: string) => isThere(join(folder, name));
  const { manifest, journal } = Layout.names;
  return has(journal) || has(manifest) && Layout.partFolders().some(has);
};

/** Tell whether nothing is at a path. What may not be looked at is taken to be there. */
const isMissing = (path: string): boolean => {
  try {
    statSync(path);
    return false;
  } catch (error) {
    return SafeFile.isMissing(error);
  }
};

/** Refuse to replace what is there, or give it, to be told. */
const replacedOf = (paths: ReadonlyArray<string>, { noClobber }: DestinationOptions) =>
  Effect.suspend(() => {
    const there = paths.filter(isFile);
    const [first] = there;
    return first !== undefined && noClobber
      ? fail(`${first} exists, and --no-clobber keeps it: choose another name, or move it away`)
      : Effect.succeed(there);
  });

const QUARANTINE = "monocloud-sessions.quarantine.ndjson";

/** A path with what its name or `--format` says is to be written there; undefined where that is a folder's to say. */
interface Out {
  readonly path: string;
  /** True of pipes, devices and standard output, which keep what they got. */
  readonly isPipe: boolean;
  readonly wanted: Formats.Choice | undefined;
}

const sinkOf = ({ path, isPipe }: Out): Sink =>
  path === "-" ? Terminal.stdout() : isPipe ? PipeSink.make(path) : FileSink.make(path);

const toFiles = (outs: ReadonlyArray<Out>, options: DestinationOptions) =>
  Effect.gen(function* () {
    const { noClobber, csvBom } = options;
    const paths = outs.filter(({ isPipe }) => !isPipe).map(({ path }) => path);
    const [first] = outs;
    const quarantine = options.quarantine ??
      (first!.isPipe ? QUARANTINE : `${first!.path}.quarantine.ndjson`);
    const within = paths.find((path) => isDataset(dirname(resolve(path))));
    if (within !== undefined) {
      return yield* fail(
        `--out ${within} would lie in the folder of an export, whose next run refuses it: choose another place`,
      );
    }
    const replaced = yield* replacedOf(noClobber ? [...paths, quarantine] : paths, options);
    return {
      kind: "files",
      targets: outs.map((out) => {
        const { format, output } = targetOf(out.wanted!, sinkOf(out));
        return { format, output: csvBom && format.name === "csv" ? withBom(output) : output };
      }),
      quarantine: FileSink.make(quarantine),
      usesStdout: first!.path === "-",
      usesPipe: outs.some(({ isPipe }) => isPipe),
      replaced,
    } satisfies Destination;
  });

const toStdout = (
  outs: ReadonlyArray<string>,
  formats: ReadonlyArray<Formats.Choice>,
  options: DestinationOptions,
): Chosen => {
  const [only, ...more] = formats;
  if (outs.length > 1) return fail("--out - can't be combined with other outputs");
  if (only === undefined || more.length > 0) {
    return fail(`--out - needs exactly one --format, of ${Formats.choices().join(", ")}`);
  }
  if (process.stdout.isTTY && (only.gzip || !only.format.gzip)) {
    return fail("Binary data would go to the terminal: redirect standard output, or name a file with --out");
  }
  return toFiles([{ path: "-", isPipe: true, wanted: only }], options);
};

const toFolder = (
  outs: ReadonlyArray<string>,
  folder: string,
  formats: ReadonlyArray<Formats.Choice>,
  { quarantine, noClobber }: DestinationOptions,
): Chosen => {
  const lower = folder.toLowerCase();
  if (Formats.ofPath(lower) !== undefined) {
    return fail(`--out ${folder}: write its ending in lower case, as in ${lower}`);
  }
  const taken = /[/\\]$/.test(folder)
    ? `--out ${folder} is a folder`
    : `--out ${folder} is taken for a folder, since it ends in none of ${endings}`;
  if (outs.length > 1) return fail(`${taken}; a folder can't be combined with other outputs`);
  if (formats.length === 0) {
    return fail(`${taken}: say with --format what to write there, or give the file such an ending`);
  }
  if (quarantine !== undefined) {
    return fail(
      `--quarantine goes with files: a folder has a place of its own for them, ${folder}/quarantine`,
    );
  }
  const above = dirname(resolve(folder));
  if (isMissing(above)) {
    return fail(`--out ${folder}: there is no folder ${above}. Create it first, or mount it`);
  }
  if (noClobber) return fail("--no-clobber goes with files: nothing in a folder is ever replaced");
  return Effect.succeed({ kind: "dataset", root: folder, formats });
};

/** Write some columns alone, in their order. */
const narrowed = (chosen: Destination, columns: ReadonlyArray<string>): Chosen => {
  if (chosen.kind === "dataset") {
    return fail("--columns goes with files: a folder has all of them, to be verified and added to");
  }
  const unknown = columns.find((name) => !allColumns.includes(name));
  if (unknown !== undefined) {
    return fail(`--columns can't be followed: ${Options.unknown("column", unknown, allColumns)}`);
  }
  const whole = chosen.targets.find(({ format }) => format.select === undefined);
  if (whole !== undefined) {
    return fail(`--columns goes with CSV and Parquet: ${whole.format.name} has whole sessions`);
  }
  const targets = chosen.targets.map(({ format, output }) => ({ format: format.select!(columns), output }));
  return Effect.succeed({ ...chosen, targets });
};

/** Decide the destination by `--out` and `--format`. */
export const from = (
  outs: ReadonlyArray<string>,
  formatTexts: ReadonlyArray<string>,
  options: DestinationOptions,
): Chosen =>
  Effect.gen(function* () {
    const formats = yield* formatsOf(formatTexts, options);
    const flaw = flawIn(outs, options.quarantine);
    if (flaw !== undefined) return yield* fail(flaw);
    const chosen = yield* choose(outs, formats, options);
    if (options.csvBom && chosen.kind === "dataset") {
      return yield* fail("--csv-bom goes with files: programs read the parts of a folder");
    }
    if (
      options.csvBom && chosen.kind === "files" && !chosen.targets.some(({ format }) => format.name === "csv")
    ) {
      return yield* fail("--csv-bom goes with CSV, and no output is: leave it out");
    }
    return options.columns === undefined ? chosen : yield* narrowed(chosen, options.columns);
  });

/** Choose between files, a folder and standard output. */
const choose = (
  outs: ReadonlyArray<string>,
  formats: ReadonlyArray<Formats.Choice>,
  options: DestinationOptions,
): Chosen =>
  Effect.gen(function* () {
    if (outs.includes("-")) return yield* toStdout(outs, formats, options);
    const files = outs.map((path): Out => {
      const isPipe = PipeSink.isPipe(path);
      return { path, isPipe, wanted: Formats.ofPath(path, options) ?? (isPipe ? formats[0] : undefined) };
    });
    const unknown = files.find(({ wanted }) => wanted === undefined);
    if (unknown?.isPipe === true) {
      return yield* fail(
        `--out ${unknown.path} is a pipe or a device: say with --format what to write there`,
      );
    }
    if (unknown !== undefined) return yield* toFolder(outs, unknown.path, formats, options);
    const named = files.filter(({ path }) => Formats.ofPath(path) !== undefined);
    if (formats.length > (named.length < files.length ? 1 : 0)) {
      return yield* fail("--format goes with --out - or a folder: a file's name says its format");
    }
    return yield* toFiles(files, options);
  });
