/** Reads parts that something else is made from: where one is not as it was written, that is an error. */
import { join } from "node:path";
import * as Effect from "effect/Effect";
import * as Either from "effect/Either";
import type * as Scope from "effect/Scope";
import { DatasetError } from "./DatasetError.ts";
import type { Part } from "./Manifest.ts";
import * as PartReader from "./PartReader.ts";
import type { Row, Written } from "../format/DecodedRow.ts";

export interface Reader {
  readonly root: string;
  /** In words that go on from "Cannot": `replay`. */
  readonly purpose: string;
  /** Counts the rows read, in place. */
  readonly progress: { rows: number };
}

/** The error for a file that can't be relied on. */
export const damaged = ({ root, purpose }: Omit<Reader, "progress">, path: string, why: string) =>
  new DatasetError({
    reason: "Corrupt",
    path: join(root, path),
    message: `Cannot ${purpose} as ${
      join(root, path)
    } ${why}: verify the dataset, and restore the file from a backup`,
  });

/** Work that throws such an error. */
export const attempt = <A>(work: () => Promise<A>): Effect.Effect<A, DatasetError> =>
  Effect.catchAllDefect(
    Effect.promise(work),
    (error) => error instanceof DatasetError ? Effect.fail(error) : Effect.die(error),
  );

/** Go through what a generator gives, interruptible between its steps by `restore`; gives what it returns. */
export const forEach = <A, B, E, R>(
  steps: AsyncGenerator<A, B>,
  restore: <A, E, R>(work: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>,
  take: (value: A) => Effect.Effect<unknown, E, R>,
): Effect.Effect<B, E | DatasetError, Exclude<R, Scope.Scope>> =>
  Effect.scoped(Effect.gen(function* () {
    yield* Effect.addFinalizer(() => Effect.promise(() => steps.return(undefined as never)));
    while (true) {
      const { done, value } = yield* restore(attempt(() => steps.next()));
      if (done) return value;
      yield* take(value);
    }
  }));

/** Compare a file's bytes with what is recorded of them; throws a {@link damaged} one. */
export const checkSum = async (
  reader: Reader,
  part: Pick<Part, "path" | "bytes" | "sha256">,
): Promise<void> => {
  const { bytes, sha256 } = await PartReader.sumOf(reader.root, part).catch((error) => {
    throw damaged(reader, part.path, `can't be read (${error.message})`);
  });
  if (bytes !== part.bytes || sha256 !== part.sha256) {
    throw damaged(reader, part.path, "has been changed since it was written");
  }
};

/** Read a part, some of it at a time, once its sum was found to be the one recorded; counts what was taken. */
async function* sound<A, B>(
  reader: Reader,
  part: Part,
  source: AsyncIterable<ReadonlyArray<A>>,
  take: (value: A, number: number, refuse: (flaw: string) => DatasetError) => B,
): AsyncGenerator<ReadonlyArray<B>> {
  await checkSum(reader, part);
  let number = 0;
  const refuse = (flaw: string) => damaged(reader, part.path, `row ${number} ${flaw}`);
  try {
    for await (const values of source) {
      yield values.map((value) => take(value, ++number, refuse));
      reader.progress.rows += values.length;
    }
  } catch (error) {
    if (error instanceof DatasetError) throw error;
    throw damaged(reader, part.path, `can't be read (${(error as Error).message})`);
  }
}

export const sessions = (reader: Reader, part: Part, written: Written): AsyncGenerator<ReadonlyArray<Row>> =>
  sound(reader, part, PartReader.rows(reader.root, part, written, true), (row, _, refuse): Row => {
    if ("flaw" in row) throw refuse(row.flaw);
    return row;
  });

/** Read a part of lines, each with its number, from 1. */
export const lines = <A>(
  reader: Reader,
  part: Part,
  decode: (text: string) => Either.Either<A, string>,
) =>
  sound(reader, part, PartReader.lines(reader.root, part), (text, number, refuse) => ({
    text,
    line: Either.getOrThrowWith(decode(text), refuse),
    number,
  }));
