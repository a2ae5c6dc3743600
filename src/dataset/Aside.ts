/**
 * Rows that were put aside, read back to be replayed.
 *
 * @module
 */
import { join } from "node:path";
import * as Either from "effect/Either";
import * as Session from "../Session.ts";
import { version } from "../version.ts";
import { DatasetError } from "./Folder.ts";
import type { Part } from "./Manifest.ts";
import * as PartReader from "./PartReader.ts";
import * as Rejects from "./Rejects.ts";

/** The error for a file that a replay can't rely on. */
export const damaged = (root: string, path: string, why: string) =>
  new DatasetError({
    reason: "Corrupt",
    path: join(root, path),
    message: `Cannot replay as ${
      join(root, path)
    } ${why}: verify the dataset, and restore the file from a backup`,
  });

/** A row that was put aside: what is said of it, and the session that it is by now, if it is one. */
export interface Aside {
  /** Its part and its number there. */
  readonly place: string;
  readonly text: string;
  readonly line: Rejects.Line;
  readonly decoded: ReturnType<typeof Session.decode>;
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

/** The rows of rejected parts, some at a time, Fails if a part is not as it was written. */
export async function* rows(
  root: string,
  parts: ReadonlyArray<Part>,
  progress: { rows: number },
): AsyncGenerator<ReadonlyArray<Aside>> {
  for (const part of parts) {
    const { bytes, sha256 } = await PartReader.sumOf(join(root, part.path)).catch((error) => {
      throw damaged(root, part.path, `can't be read (${error.message})`);
    });
    if (bytes !== part.bytes || sha256 !== part.sha256) {
      throw damaged(root, part.path, "has been changed since it was written");
    }
    let number = 0;
    for await (const lines of PartReader.lines(root, part)) {
      yield lines.map((text) => {
        const place = `${part.path} ${++number}`;
        const line = Either.getOrElse(Rejects.decode(text), (why) => {
          throw damaged(root, part.path, `row ${number} ${why}`);
        });
        return { text, line, place, decoded: Session.decode(line.redacted ? undefined : parsed(line.row)) };
      });
      progress.rows += lines.length;
    }
  }
}

/** The line of a row that stays put aside: with what is wrong with it by now, unless that can't be told. */
export const lineOf = ({ text, line, decoded }: Aside): string => {
  if (line.redacted || Either.isRight(decoded)) return text;
  const [paths, message] = [Session.paths(decoded.left), Session.describe(decoded.left)];
  const { row, ...where } = JSON.parse(text);
  return JSON.stringify({ ...where, paths, message, version, row });
};
