/**
 * What is found in a dataset's folder before anything is written there, and what is cleared away.
 *
 * @module
 */
import { join } from "node:path";
import * as Effect from "effect/Effect";
import * as Folder from "./Folder.ts";
import * as Journal from "./Journal.ts";
import * as Manifest from "./Manifest.ts";

const { DatasetError } = Folder;

const list = (items: ReadonlyArray<string>): string =>
  items.slice(0, 3).join(", ") + (items.length > 3 ? `, and ${items.length - 3} more` : "");

const occupied = (root: string, message: string) =>
  new DatasetError({ reason: "Occupied", path: root, message: `Cannot export into ${root}: ${message}` });

/** What is in the folder now. */
export interface Found {
  readonly manifest: Manifest.Manifest | undefined;
  readonly journal: Journal.Journal | undefined;
}

/** Reads what the folder says of itself. */
export const look = (root: string) =>
  Effect.gen(function* () {
    const path = join(root, Folder.names.manifest);
    const text = yield* Folder.textOf(path);
    const manifest = text === undefined ? undefined : yield* Manifest.decode(Manifest.Manifest, path, text);
    const journal = yield* Journal.read(root);
    return { manifest, journal };
  });

/** Whether there is a run to go on with: one that has not finished, and has come to a first cut. */
export const isUnfinished = ({ manifest, journal }: Found): boolean =>
  // A process may die after it has finished the run, before it removes the journal.
  journal !== undefined && journal.cuts.length > 0 &&
  !manifest?.runs.some(({ run }) => run === journal.header.run);

/** Refuses a folder that holds something else, or a run where none is to be added to it. */
export const refuseOthers = (
  root: string,
  { manifest, journal }: Found,
  mode: "new" | "resume",
  isAddition: boolean,
) =>
  Effect.gen(function* () {
    const foreign = yield* Folder.foreignIn(root);
    if (foreign.length > 0) {
      return yield* Effect.fail(
        occupied(root, `it holds ${list(foreign)}, which is no part of an export. Choose another folder`),
      );
    }
    const { parts } = yield* Folder.partsIn(root);
    const named = new Set(
      [
        ...manifest?.parts ?? [],
        ...manifest?.superseded ?? [],
        ...journal?.cuts.flatMap((cut) => cut.parts) ?? [],
      ].map((
        { path },
      ) => path),
    );
    const next = nextPart({ manifest, journal });
    const unnamed = parts.filter(({ path, number }) => !named.has(path) && (!journal || number !== next));
    if (unnamed.length > 0) {
      return yield* Effect.fail(
        occupied(
          root,
          `it holds ${
            list(unnamed.map(({ path }) => path))
          }, of which neither manifest nor journal speaks. ` +
            "Choose another folder, or move it away",
        ),
      );
    }
    if (mode === "resume") return;
    if (isUnfinished({ manifest, journal })) {
      return yield* Effect.fail(
        occupied(
          root,
          "it holds an export that did not finish. Go on with it (--resume), choose another folder, or remove this one",
        ),
      );
    }
    if (manifest !== undefined && !isAddition) {
      return yield* Effect.fail(
        occupied(
          root,
          "it holds a finished export. Add what has changed since (--since-last), choose another folder, or remove this one first",
        ),
      );
    }
  });

/** The number of the next parts. */
export const nextPart = ({ manifest, journal }: Found): number =>
  1 + [
    ...manifest?.parts ?? [],
    ...manifest?.superseded ?? [],
    ...journal?.cuts.flatMap(({ parts }) => parts) ?? [],
  ].reduce((highest, { part }) => Math.max(highest, part), -1);

/** Removes what a process that was killed has left: partial files, parts that no journal line names, a journal that is over. */
export const sweep = (root: string, found: Found) =>
  Effect.gen(function* () {
    const { parts, partials } = yield* Folder.partsIn(root);
    const next = nextPart(found);
    const beside = (yield* Folder.namesIn(root)).filter(Folder.isPartial);
    const gone = new Set(found.manifest?.superseded?.map(({ path }) => path));
    const unnamed = parts.filter(({ path, number }) => number >= next || gone.has(path)).map(({ path }) =>
      path
    );
    yield* Effect.forEach([...unnamed, ...partials, ...beside], (path) => Folder.remove(join(root, path)));
    if (!isUnfinished(found)) yield* forget(root);
  });

/** Removes what tells of an unfinished run. */
export const forget = (root: string) =>
  Effect.zipRight(
    Folder.remove(join(root, Folder.names.journal)),
    Folder.remove(join(root, Folder.names.users)),
  );
