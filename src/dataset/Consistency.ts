/** Checks that manifest and journal fit together: each may be well formed, and lie about runs and parts. */
import { join } from "node:path";
import { damaged, type DatasetError } from "./DatasetError.ts";
import * as Formats from "../format/Formats.ts";
import * as Layout from "./Layout.ts";
import type { Journal } from "./Journal.ts";
import { folderOf, type Manifest, manifestVersion, MOST, type Part, type Version } from "./Manifest.ts";

/** Tell whether a part has the path of its format and number; those of no format hold lines. */
const isOwnPath = ({ path, format, part }: Part, version: Version): boolean => {
  const { extension, gzip } = Formats.find(format) ?? { extension: "ndjson", gzip: false };
  const plain = Layout.partPath(folderOf(format, version), part, extension);
  return path === plain || (gzip && path === `${plain}.gz`);
};

/** Tell what can't be of these parts; undefined if all can. */
export const flawOf = (
  parts: Iterable<Part>,
  version: Version,
  isRun: (run: number) => boolean,
): string | undefined => {
  for (const part of parts) {
    const { path, format, part: number, run } = part;
    if (!isOwnPath(part, version)) return `it names ${path} as part ${number} of ${format}`;
    if (!isRun(run)) return `it names ${path} as of run ${run}, which there is not`;
  }
  return undefined;
};

export const repeated = (parts: Iterable<Part>): ReadonlyArray<string> => {
  const named = new Set<string>();
  const again: Array<string> = [];
  for (const { path } of parts) {
    if (named.has(path)) again.push(path);
    named.add(path);
  }
  return again;
};

/** The error for what can't be so; undefined if all of it can. */
export const check = (
  root: string,
  manifest: Manifest | undefined,
  journal: Journal | undefined,
  nextPart: number,
): DatasetError | undefined => {
  const { runs = [], parts = [], superseded = [], manifest_version = manifestVersion } = manifest ?? {};
  const [ofManifest, ofJournal] = [join(root, Layout.names.manifest), join(root, Layout.names.journal)];
  const misplaced = runs.findIndex(({ run }, i) => run !== i + 1);
  if (misplaced !== -1) {
    return damaged(ofManifest, `run ${runs[misplaced]!.run} is where run ${misplaced + 1} should be`);
  }
  const flaw = flawOf([...parts, ...superseded], manifest_version, (run) => run <= runs.length);
  if (flaw !== undefined) return damaged(ofManifest, flaw);
  if (journal !== undefined) {
    const { header: { run, journal_version }, checkpoints } = journal;
    if (manifest !== undefined && journal_version !== manifest_version) {
      return damaged(
        ofJournal,
        `it has version ${journal_version}, and ${ofManifest} version ${manifest_version}`,
      );
    }
    if (run > runs.length + 1) {
      return damaged(ofJournal, `it is of run ${run}, and run ${runs.length + 1} is next`);
    }
    const flaw = flawOf(checkpoints.flatMap(({ parts }) => parts), journal_version, (of) => of === run);
    if (flaw !== undefined) return damaged(ofJournal, flaw);
  }
  // So that what is written next can be read.
  return nextPart > MOST / 2
    ? damaged(journal === undefined ? ofManifest : ofJournal, `its next part would be the ${nextPart}th`)
    : undefined;
};
