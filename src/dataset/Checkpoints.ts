/** The checkpoints of a run: parts in the making, and the line of the journal that makes them part of the dataset. */
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import type { Batch } from "../session/Batch.ts";
import type { DatasetOptions } from "./DatasetOptions.ts";
import * as Journal from "./Journal.ts";
import type { Lease } from "./Lease.ts";
import type { Checkpoint, LineKind, Part, RunProgress } from "./Manifest.ts";
import * as PartWriter from "./PartWriter.ts";

const PART_ROWS = 500_000;
const PART_BYTES = 512 * 2 ** 20;

export type Checkpoints = Effect.Effect.Success<ReturnType<typeof make>>;

export const make = (
  options: Pick<DatasetOptions<never, never>, "root" | "formats" | "onInvalid" | "partRows" | "partBytes">,
  { header, checkpoints }: Journal.Journal,
  { prove }: Lease,
  progress: Effect.Effect<RunProgress>,
) =>
  Effect.gen(function* () {
    const { root, formats, onInvalid, partRows = PART_ROWS, partBytes = PART_BYTES } = options;
    const append = yield* Journal.append(root, header, prove);
    const parts = checkpoints.flatMap(({ parts }) => parts);
    // The number that the journal says is taken, by this process.
    let number = checkpoints.reduce(
      (number, { claims = number }) => Math.max(number, claims),
      header.claims ?? 0,
    );
    const { run, journal_version: version } = header;
    const open = () => PartWriter.make({ root, formats, onInvalid, run, version, prove }, number);
    let current = yield* open();
    let taken = checkpoints.length;
    let isChanged = false;
    const line = (more: Omit<Checkpoint, "checkpoint" | "at" | "run_progress">) =>
      Effect.gen(function* () {
        const at = new Date(yield* Clock.currentTimeMillis).toISOString();
        yield* append({ checkpoint: taken++, at, ...more, run_progress: yield* progress });
      });
    const take = ({ isLast, ended }: { readonly isLast: boolean; readonly ended?: Checkpoint["ended"] }) =>
      Effect.gen(function* () {
        if (!isChanged && current.size().rows === 0) return;
        const complete = yield* current.commit;
        if (complete.length > 0) number++;
        const claims = complete.length > 0 && !isLast ? { claims: number } : {};
        yield* line({ parts: complete, ...claims, ...(ended && { ended }) });
        yield* current.discard;
        isChanged = false;
        parts.push(...complete);
        current = yield* open();
      });
    return {
      /** Writes a batch; gives the bytes encoded. */
      write: (batch: Batch) => current.write(batch),
      keep: (kind: LineKind, lines: ReadonlyArray<string>) => Effect.suspend(() => current.keep(kind, lines)),
      /** Makes sure that there is a file of each format, if only with its columns. */
      openFiles: Effect.suspend(() => current.openFiles),
      /** Tells whether the parts hold so much that they are to be completed. */
      isFull: (): boolean => {
        const { rows, bytes } = current.size();
        return rows >= partRows || bytes >= partBytes;
      },
      /** Notes that there is something to write down, though it be no row. */
      touch: () => void (isChanged = true),
      /**
       * Completes the parts, then appends a line that names them and says how far the run has come. Nothing, where nothing has
       * changed. Once the run is broken off, the line claims no further number.
       */
      take: (isBroken = false) => take({ isLast: isBroken }),
      /** Takes the last checkpoint, whatever has changed, with a line that says so. */
      end: (ended: NonNullable<Checkpoint["ended"]>) =>
        Effect.suspend(() => {
          isChanged = true;
          return take({ isLast: true, ended });
        }),
      /** Appends a line without parts: the users are dealt to so many shards. */
      plan: (shards: number) => line({ parts: [], shards }),
      /**
       * Takes in what an attempt at a shard has completed. Claims as many numbers as it needs; `name` then gives its parts theirs,
       * from the first of these on. One line makes them part of the dataset.
       */
      publish: <E>(
        published: NonNullable<Checkpoint["published"]>,
        numbers: number,
        name: (first: number) => Effect.Effect<ReadonlyArray<Part>, E>,
      ) =>
        Effect.gen(function* () {
          const first = number;
          // The first number is claimed already.
          if (numbers > 1) yield* line({ parts: [], claims: first + numbers - 1 });
          const named = yield* name(first);
          number += numbers;
          yield* line({ parts: named, ...(numbers > 0 && { claims: number }), published });
          parts.push(...named);
          current = yield* open();
        }),
      /** Completes the last parts, which no line names: the manifest does. */
      finish: Effect.gen(function* () {
        const last = yield* current.commit;
        parts.push(...last);
        if (last.length > 0) number++;
      }),
      discard: Effect.suspend(() => current.discard),
      parts: (): ReadonlyArray<Part> => parts,
      number: () => number,
    };
  });
