/** The ledger of a schema: which dataset was loaded into it, and how far. It is written in the transaction of the rows. */
import * as Effect from "effect/Effect";
import * as Schema from "effect/Schema";
import * as Attempt from "./Attempt.ts";
import type { Item } from "./LoadSource.ts";
import type { Store } from "./Store.ts";
import { type Target, TargetError } from "./Target.ts";

/** The place up to which a folder was read: whole parts before one, and rows of that one. */
const Position = Schema.Struct({ item: Schema.String, rows: Schema.Int });

const Ledger = Schema.parseJson(
  Schema.Struct({
    dataset_id: Schema.String,
    /** The run that first loaded it. */
    run: Schema.Int,
    position: Schema.optional(Position),
  }),
);

export type Ledger = typeof Ledger.Type;

const KEY = "dataset";

export interface OpenOptions {
  readonly root: string;
  readonly target: Target;
  readonly replace?: boolean | undefined;
}

/** Read the ledger, or begin one. Refuses another dataset, and a schema that `sync` has written to since. */
export const open = (
  { store, begun }: Attempt.Work,
  { root, target, replace = false }: OpenOptions,
  dataset_id: string,
): Effect.Effect<Ledger, TargetError> =>
  Effect.gen(function* () {
    const refuse = (message: string) =>
      new TargetError({
        reason: "Foreign",
        target: target.name,
        message: `Cannot load ${root} into ${target.name}: ${message}`,
      });
    const fresh: Ledger = { dataset_id, run: begun.run };
    // A load that replaces has done nothing before it has done all.
    if (replace) return fresh;
    const said = (yield* Attempt.call(() => store.meta())).get(KEY);
    const found = said === undefined ? undefined : Schema.decodeSync(Ledger)(said);
    if (found !== undefined && found.dataset_id !== dataset_id) {
      return yield* refuse(
        `it holds another dataset, ${found.dataset_id}. To put this one in its place, give --replace`,
      );
    }
    if (yield* Attempt.call(() => store.hasOtherRuns(found?.run ?? 0))) {
      return yield* refuse(
        "sync has written to it since, and the folder may have what is older. Go on with sync, or give --replace",
      );
    }
    return found ?? fresh;
  });

/** Write the ledger, within a transaction. */
export const save = (store: Store, ledger: Ledger): Promise<void> =>
  store.setMeta(KEY, Schema.encodeSync(Ledger)(ledger));

/** Tell whether a part was loaded to its end. */
export const hasAll = ({ position }: Ledger, { name, part }: Item): boolean =>
  position !== undefined &&
  (name < position.item || (name === position.item && position.rows >= part.rows));

/** Count the rows that were loaded of a part that was begun. */
export const rowsOf = ({ position }: Ledger, { name }: Item): number =>
  position?.item === name ? position.rows : 0;
