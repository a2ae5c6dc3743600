/** Inspects a dataset's folder before anything is written there, and clears away what killed processes have left. */
import { join } from "node:path";
import * as Effect from "effect/Effect";
import type { SinkError } from "../sink/Sink.ts";
import * as Consistency from "./Consistency.ts";
import { damaged, failure } from "./DatasetError.ts";
import * as Layout from "./Layout.ts";
import * as Journal from "./Journal.ts";
import * as Manifest from "./Manifest.ts";
import * as ShardFolder from "./ShardFolder.ts";

const { DatasetError } = Layout;

const list = (items: ReadonlyArray<string>): string =>
  items.slice(0, 3).join(", ") + (items.length > 3 ? `, and ${items.length - 3} more` : "");

const occupied = (root: string, message: string) =>
  new DatasetError({ reason: "Occupied", path: root, message: `Cannot export into ${root}: ${message}` });

export interface Inspection {
  readonly manifest: Manifest.Manifest | undefined;
  readonly journal: Journal.Journal | undefined;
  /** True if no run may be added, as the manifest could become too long to read. */
  readonly isFull?: boolean | undefined;
}

/** A manifest of more characters gets no further run. */
const FULL = Layout.most.manifest / 8 * 7;

/** Reads the manifest; undefined if there is none. */
export const readManifest = (root: string) =>
  Effect.gen(function* () {
    const { manifest: name } = Layout.names;
    const path = join(root, name);
    const text = yield* Layout.textOf(root, name, Layout.most.manifest);
    if (text === undefined) return { manifest: undefined, isFull: false };
    const manifest = yield* Effect.try({
      try: () => Manifest.decode("Manifest", path, text),
      catch: failure("Open", path),
    });
    return { manifest, isFull: text.length > FULL };
  });

/** Reads what the folder says of itself. */
export const read = (root: string): Effect.Effect<Inspection, Layout.DatasetError | SinkError> =>
  Effect.gen(function* () {
    const { manifest, isFull } = yield* readManifest(root);
    const journal = yield* Journal.read(root);
    const found = { manifest, journal, isFull };
    const flaw = Consistency.check(root, manifest, journal, nextPart(found));
    return flaw === undefined ? found : yield* flaw;
  });

/** Tell whether the run of a journal has finished: a process may die after that, before it removes the journal. */
const isOver = ({ manifest, journal }: Inspection): boolean =>
  manifest?.runs.some(({ run }) => run === journal?.header.run) === true;

/** Tell whether there is a run to go on with: one that has not finished, and has come to a first checkpoint. */
export const isUnfinished = (found: Inspection): boolean =>
  found.journal !== undefined && found.journal.checkpoints.length > 0 && !isOver(found);

const namedIn = ({ manifest, journal }: Inspection): ReadonlyArray<Manifest.Part> => [
  ...manifest?.parts ?? [],
  ...manifest?.superseded ?? [],
  ...journal?.checkpoints.flatMap(({ parts }) => parts) ?? [],
];

/** Refuses a folder that holds something else, or a run where none is to be added to it. */
export const refuseOthers = (
  root: string,
  { manifest, journal, isFull = false }: Inspection,
  mode: "new" | "resume",
  isAddition: boolean,
) =>
  Effect.gen(function* () {
    const foreign = yield* Layout.foreignIn(root);
    if (foreign.length > 0) {
      return yield* occupied(
        root,
        `it holds ${list(foreign)}, which no export has written. Move that away, or choose another folder`,
      );
    }
    // What is superseded is removed: a part that is not must not be named there as well.
    const [again] = Consistency.repeated([...manifest?.parts ?? [], ...manifest?.superseded ?? []]);
    if (again !== undefined) {
      return yield* damaged(join(root, Layout.names.manifest), `it names ${again} twice`);
    }
    const { parts } = yield* Layout.partsIn(root);
    const named = new Set(namedIn({ manifest, journal }).map(({ path }) => path));
    const isNobodys = nobodys({ manifest, journal });
    const unnamed = parts.filter(({ path, number }) => !named.has(path) && !isNobodys(number));
    if (unnamed.length > 0) {
      return yield* occupied(
        root,
        `it holds ${list(unnamed.map(({ path }) => path))}, of which neither manifest nor journal speaks. ` +
          "Choose another folder, or move it away",
      );
    }
    if (isFull && !isUnfinished({ manifest, journal })) {
      return yield* occupied(
        root,
        `${Layout.names.manifest} has more than ${FULL} bytes, and ${Layout.most.manifest} are the most it may have. ` +
          "Choose another folder",
      );
    }
    if (mode === "resume") return;
    if (isUnfinished({ manifest, journal })) {
      return yield* occupied(
        root,
        "it holds an export that did not finish. Go on with it (--resume), choose another folder, or remove this one",
      );
    }
    if (manifest !== undefined && !isAddition) {
      return yield* occupied(
        root,
        "it holds a finished export. Add what has changed since (--since-last), choose another folder, or remove this one first",
      );
    }
  });

const highest = (parts: ReadonlyArray<Manifest.Part>): number =>
  parts.reduce((highest, { part }) => Math.max(highest, part), -1);

/** The lowest number that no finished run has used. */
const nextOf = (manifest: Manifest.Manifest | undefined): number =>
  Math.max(manifest?.next_part ?? 0, 1 + highest([...manifest?.parts ?? [], ...manifest?.superseded ?? []]));

/** The number of the next parts: one that no part has had, and that no writer before has taken. */
export const nextPart = (found: Inspection): number => {
  const { manifest, journal } = found;
  const finished = nextOf(manifest);
  if (journal === undefined || isOver(found)) return finished;
  const { header, checkpoints } = journal;
  const named = checkpoints.reduce((next, { parts }) => Math.max(next, 1 + highest(parts)), finished);
  return checkpoints.reduce(
    (next, { claims = -1 }) => Math.max(next, 1 + claims),
    Math.max(named, 1 + (header.claims ?? named)),
  );
};

/** Tells of a number whether its parts are what a process has left that could not name them: no line does. */
const nobodys = (found: Inspection): (number: number) => boolean => {
  const { manifest } = found;
  const named = new Set(namedIn(found).map(({ part }) => part));
  const next = nextPart(found);
  // Where nothing says which numbers were taken, a file among the parts may be anyone's.
  const first = manifest?.next_part === undefined ? nextOf(manifest) : 0;
  return (number) => number >= first && number < next && !named.has(number);
};

/**
 * Remove what a process that was killed has left: partial files, parts that no journal line names, a journal that is over.
 * Gives what is in the folder then.
 */
export const removeOrphans = (root: string, found: Inspection, prove: Layout.Proof) =>
  Effect.gen(function* () {
    const { parts, partials } = yield* Layout.partsIn(root);
    const isNobodys = nobodys(found);
    const superseded = new Set(found.manifest?.superseded?.map(({ path }) => path));
    const beside = yield* Layout.namesIn(root);
    const kept = isUnfinished(found) ? usersOf(found.journal!.header) : undefined;
    const left = [
      ...parts.filter(({ path, number }) => isNobodys(number) || superseded.has(path)).map(({ path }) =>
        path
      ),
      ...partials,
      ...beside.filter((name) => Layout.isPartial(name) || (Layout.isUsersName(name) && name !== kept)),
    ];
    const { journal, manifest } = found;
    // A writer before may be about to add a line that names what is removed here: not to this file.
    if (journal !== undefined && left.length > 0 && !isOver(found)) {
      yield* Journal.write(root, journal, prove);
    }
    yield* Layout.remove(root, left, prove);
    yield* ShardFolder.removeBut(root, isUnfinished(found) ? journal?.header.shards : undefined, prove);
    if (journal === undefined || isUnfinished(found)) return found;
    if (isOver(found)) {
      yield* Journal.remove(root, journal, prove);
      return { manifest, journal: undefined };
    }
    // It has come to nothing, and still no number that it has taken may be given again: the next header says so, or the manifest.
    if (manifest === undefined) return found;
    const whole = { ...manifest, next_part: nextPart(found) };
    yield* Layout.replace(root, Layout.names.manifest, Manifest.textOf(whole), prove);
    yield* Journal.remove(root, journal, prove);
    return { manifest: whole, journal: undefined };
  });

export const usersOf = ({ users_file }: Manifest.Header): string => users_file?.path ?? "users.txt";

/** Remove what tells of a run that is over, or that has come to nothing before a part of it had a name. */
export const deleteJournal = (root: string, { manifest, journal }: Inspection, prove: Layout.Proof) =>
  Effect.gen(function* () {
    if (journal === undefined) return;
    const { header } = journal;
    const isCovered = isOver({ manifest, journal }) || (header.claims ?? 0) <= nextOf(manifest);
    // Earlier processes may have used numbers that only this journal tells of.
    yield* isCovered
      ? Journal.remove(root, journal, prove)
      : Journal.write(root, { header, checkpoints: [] }, prove);
    yield* Layout.remove(root, [usersOf(header)], prove);
    // What can't be removed yet, as someone has it open, the next run removes.
    if (header.shards !== undefined) yield* Effect.ignore(ShardFolder.removeBut(root, undefined, prove));
  });
