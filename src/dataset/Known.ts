/**
 * Which of the sessions that were put aside the dataset has already.
 *
 * @module
 */
import { columns } from "../Columns.ts";
import { damaged } from "./Aside.ts";
import { DatasetError } from "./Folder.ts";
import type { Manifest } from "./Manifest.ts";
import * as PartReader from "./PartReader.ts";
import { escaped, keyOf, lastUpdated, type Text } from "./Row.ts";

/** A row put aside that may become a session: the latest that was put aside of those with its key. */
export interface Candidate {
  readonly place: string;
  readonly lastUpdated: number;
}

type Key = readonly [userId: string, sessionId: string];

/** A key as one text. */
export const nameOf = (key: Key): string => JSON.stringify(key);

/** How a file that writes text so may write a key. */
const spellings = (key: Key, how: Text): ReadonlyArray<Key> => {
  const plain = key.map((id) => id.toWellFormed()) as unknown as Key;
  const other = plain.map((id, i) => escaped(columns[i]!, id)) as unknown as Key;
  return how === "plain" ? [plain] : how === "escaped" ? [other] : [plain, other];
};

/** Takes out the candidates that the dataset holds already, as late or later. */
export const remove = async (
  root: string,
  { parts, runs }: Manifest,
  candidates: Map<string, Candidate>,
  progress: { rows: number },
): Promise<void> => {
  const asWritten = (how: Text) =>
    new Map(
      [...candidates.keys()].flatMap((name) =>
        spellings(JSON.parse(name), how).map((key) => [nameOf(key), name] as const)
      ),
    );
  const written = new Map<Text, ReadonlyMap<string, string>>();
  const numbers = new Set<number>();
  const readable = parts.filter(({ format }) => PartReader.order.includes(format))
    .sort((one, other) => PartReader.order.indexOf(one.format) - PartReader.order.indexOf(other.format));
  for (const part of readable) {
    if (numbers.has(part.part)) continue;
    numbers.add(part.part);
    const how = part.format === "csv"
      ? PartReader.textOf(runs.find(({ run }) => run === part.run)?.options)
      : "plain";
    if (!written.has(how)) written.set(how, asWritten(how));
    const names = written.get(how)!;
    let number = 0;
    try {
      for await (const rows of PartReader.rows(root, part, how)) {
        for (const row of rows) {
          number++;
          if ("flaw" in row) throw damaged(root, part.path, `row ${number} ${row.flaw}`);
          const name = names.get(nameOf(keyOf(row)));
          if (name !== undefined && lastUpdated(row) >= (candidates.get(name)?.lastUpdated ?? Infinity)) {
            candidates.delete(name);
          }
        }
        progress.rows += rows.length;
      }
    } catch (error) {
      if (error instanceof DatasetError) throw error;
      throw damaged(root, part.path, `can't be read (${(error as Error).message})`);
    }
  }
};
