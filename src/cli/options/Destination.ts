/**
 * Where an export goes: what `--out` and `--format` mean.
 *
 * @module
 */
import { resolve } from "node:path";
import process from "node:process";
import * as Effect from "effect/Effect";
import type { Target } from "../../export/Export.ts";
import * as Formats from "../../format/Formats.ts";
import * as FileSink from "../../sink/FileSink.ts";
import * as GzipSink from "../../sink/GzipSink.ts";
import type { Sink } from "../../sink/Sink.ts";
import { UsageError } from "../ExitCode.ts";
import * as Terminal from "../ui/Terminal.ts";

/** Where an export goes. */
export type Destination =
  | {
    readonly kind: "files";
    readonly targets: ReadonlyArray<Target>;
    readonly quarantine: Sink;
    /** Whether results go to standard output, which nothing else may then use. */
    readonly usesStdout: boolean;
  }
  | {
    readonly kind: "dataset";
    readonly root: string;
    readonly formats: ReadonlyArray<Formats.Choice>;
  };

const endings = Formats.endings();

const fail = (message: string) => Effect.fail(new UsageError({ message }));

const compressed = ({ format, gzip }: Formats.Choice, output: Sink): Target => ({
  format,
  output: gzip ? GzipSink.make(output) : output,
});

/** What `--out` and `--format` ask for. */
export const from = (
  outs: ReadonlyArray<string>,
  formatTexts: ReadonlyArray<string>,
  options: Formats.FormatOptions & { readonly quarantine?: string | undefined },
): Effect.Effect<Destination, UsageError> =>
  Effect.gen(function* () {
    const names = formatTexts.flatMap((text) => text.split(",")).map((text) => text.trim()).filter((text) =>
      text
    );
    const formats: Array<Formats.Choice> = [];
    for (const name of new Set(names)) {
      const format = Formats.choose(name, options);
      if (format === undefined) {
        return yield* fail(`--format ${name} is not known: choose of ${Formats.choices().join(", ")}`);
      }
      formats.push(format);
    }
    if (new Set(formats.map(({ format }) => format.name)).size < formats.length) {
      return yield* fail("--format names one format both with and without .gz: choose one of the two");
    }
    const [first, ...others] = outs;
    if (first === undefined) {
      return yield* fail("Nowhere to export to: give --out, such as --out sessions.csv");
    }
    const repeated = outs.find((out, index) =>
      outs.slice(0, index).some((other) => resolve(other) === resolve(out))
    );
    if (repeated !== undefined) return yield* fail(`--out ${repeated} is given twice`);

    const { quarantine } = options;
    if (quarantine !== undefined && outs.some((out) => resolve(out) === resolve(quarantine))) {
      return yield* fail(`--quarantine ${quarantine} is also an --out: give it a name of its own`);
    }
    const packed = outs.find((out) =>
      out.endsWith(".gz") && Formats.ofPath(out.slice(0, -3))?.format.gzip === false
    );
    if (packed !== undefined) {
      const { name } = Formats.ofPath(packed.slice(0, -3))!.format;
      return yield* fail(`--out ${packed}: ${name} is compressed inside: leave out the .gz`);
    }

    const quarantineAt = (path: string) => FileSink.make(quarantine ?? path);
    if (first === "-" || others.includes("-")) {
      const [only, ...more] = formats;
      if (others.length > 0) return yield* fail("--out - can't be combined with other outputs");
      if (only === undefined || more.length > 0) {
        return yield* fail(`--out - needs exactly one --format, of ${Formats.choices().join(", ")}`);
      }
      if (process.stdout.isTTY && (only.gzip || !only.format.gzip)) {
        return yield* fail(
          "Binary data would go to the terminal: redirect standard output, or name a file with --out",
        );
      }
      return {
        kind: "files",
        targets: [compressed(only, Terminal.stdout())],
        quarantine: quarantineAt("monocloud-sessions.quarantine.ndjson"),
        usesStdout: true,
      };
    }

    const files = outs.map((path) => ({ path, wanted: Formats.ofPath(path, options) }));
    const folders = files.filter((file) => file.wanted === undefined);
    if (folders.length === 0) {
      if (formats.length > 0) {
        return yield* fail("--format goes with --out - or a folder: a file's name says its format");
      }
      return {
        kind: "files",
        targets: files.map((file) => compressed(file.wanted!, FileSink.make(file.path))),
        quarantine: quarantineAt(`${first}.quarantine.ndjson`),
        usesStdout: false,
      };
    }
    if (outs.length > 1) {
      return yield* fail(
        `--out ${folders[0]!.path} is taken for a folder, since it ends in none of ${endings}; ` +
          "a folder can't be combined with other outputs",
      );
    }
    if (formats.length === 0) {
      return yield* fail(
        `--out ${first} is taken for a folder, since it ends in none of ${endings}: ` +
          "say with --format what to write there, or give the file such an ending",
      );
    }
    if (quarantine !== undefined) {
      return yield* fail(
        `--quarantine goes with files: a folder has a place of its own for them, ${first}/quarantine`,
      );
    }
    return { kind: "dataset", root: first, formats };
  });
