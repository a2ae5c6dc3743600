/**
 * Reads parts that something else is made from: where one is not as it was written, that is an error.
 *
 * @module
 */
import { join } from "node:path";
import * as Effect from "effect/Effect";
import * as Either from "effect/Either";
import { DatasetError } from "./DatasetError.ts";
import type { Part } from "./Manifest.ts";
import * as PartReader from "./PartReader.ts";
import type { Row, Written } from "../format/DecodedRow.ts";

/** Purpose that parts are read for. */
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

/** Read the sessions of a part, some at a time, once its sum was found to be the one recorded. */
export async function* sessions(
  reader: Reader,
  part: Part,
  written: Written,
): AsyncGenerator<ReadonlyArray<Row>> {
  await checkSum(reader, part);
  let number = 0;
  const sound = (row: Row | { readonly flaw: string }): Row => {
    number++;
    if ("flaw" in row) throw damaged(reader, part.path, `row ${number} ${row.flaw}`);
    return row;
  };
  try {
    for await (const rows of PartReader.rows(reader.root, part, written)) {
      yield rows.map(sound);
      reader.progress.rows += rows.length;
    }
  } catch (error) {
    if (error instanceof DatasetError) throw error;
    throw damaged(reader, part.path, `can't be read (${(error as Error).message})`);
  }
}

/** A line that was read back. */
export interface Read<A> {
  readonly text: string;
  readonly line: A;
  /** From 1. */
  readonly number: number;
}

/** The lines of a part that has lines, some at a time, once its sum was found to be the one recorded. */
export async function* lines<A>(
  reader: Reader,
  part: Part,
  decode: (text: string) => Either.Either<A, string>,
): AsyncGenerator<ReadonlyArray<Read<A>>> {
  await checkSum(reader, part);
  let read = 0;
  try {
    for await (const texts of PartReader.lines(reader.root, part)) {
      yield texts.map((text) => {
        const number = ++read;
        const line = Either.getOrElse(decode(text), (why) => {
          throw damaged(reader, part.path, `row ${number} ${why}`);
        });
        return { text, line, number };
      });
      reader.progress.rows += texts.length;
    }
  } catch (error) {
    if (error instanceof DatasetError) throw error;
    throw damaged(reader, part.path, `can't be read (${(error as Error).message})`);
  }
}
