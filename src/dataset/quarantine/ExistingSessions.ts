/** Finds the quarantined sessions that the dataset has already. */
import type { Manifest } from "../Manifest.ts";
import * as PartReader from "../PartReader.ts";
import { keyOf, lastUpdated, spelled, type Text } from "../../format/DecodedRow.ts";
import * as CheckedReader from "../CheckedReader.ts";

/** A row quarantined that may become a session: the latest that was quarantined of those with its key. */
export interface Candidate {
  readonly place: string;
  readonly lastUpdated: number;
}

export const nameOf = (key: readonly [userId: string, sessionId: string]): string => JSON.stringify(key);

/** Takes out the candidates that the dataset holds already, as late or later. */
export const remove = async (
  reader: CheckedReader.Reader,
  { parts, runs }: Manifest,
  candidates: Map<string, Candidate>,
): Promise<void> => {
  const asWritten = (text: Text) =>
    new Map(
      [...candidates.keys()].flatMap((name) =>
        spelled(JSON.parse(name), text).map((key) => [nameOf(key), name] as const)
      ),
    );
  const namesOf = new Map<Text, ReadonlyMap<string, string>>();
  for (const part of PartReader.oneOfEach(parts)) {
    const written = PartReader.writtenAs(part, runs);
    const { text } = written;
    if (!namesOf.has(text)) namesOf.set(text, asWritten(text));
    const names = namesOf.get(text)!;
    for await (const rows of CheckedReader.sessions(reader, part, written)) {
      for (const row of rows) {
        const name = names.get(nameOf(keyOf(row)));
        if (name !== undefined && lastUpdated(row) >= (candidates.get(name)?.lastUpdated ?? Infinity)) {
          candidates.delete(name);
        }
      }
    }
  }
};
