/** Rows that were quarantined, read back to be replayed. */
import * as Either from "effect/Either";
import * as Session from "../../session/Session.ts";
import { version } from "../../version.ts";
import type { Part } from "../Manifest.ts";
import * as QuarantineLine from "../QuarantineLine.ts";
import * as CheckedReader from "../CheckedReader.ts";

/** A row that was quarantined: what is said of it, and the session that it is by now, if it is one. */
export interface QuarantinedLine {
  /** Its part and its number there. */
  readonly place: string;
  readonly text: string;
  readonly line: QuarantineLine.Line;
  readonly decoded: ReturnType<typeof Session.decode>;
}

/** Decode a row as this version does. A row nested deeper than the stack allows is no session. */
const decoded = ({ redacted, row }: QuarantineLine.Line): QuarantinedLine["decoded"] => {
  try {
    return Session.decode(redacted ? undefined : JSON.parse(row));
  } catch {
    return Session.decode(undefined);
  }
};

/** The rows of quarantine parts, some at a time. Fails if a part is not as it was written. */
export async function* rows(
  reader: CheckedReader.Reader,
  parts: ReadonlyArray<Part>,
): AsyncGenerator<ReadonlyArray<QuarantinedLine>> {
  for (const part of parts) {
    for await (const lines of CheckedReader.lines(reader, part, QuarantineLine.decode)) {
      yield lines.map(({ text, line, number }) => ({
        text,
        line,
        place: `${part.path} ${number}`,
        decoded: decoded(line),
      }));
    }
  }
}

/** The line of a row that stays quarantined: with what is wrong with it by now, unless that can't be told. */
export const lineOf = ({ text, line, decoded }: QuarantinedLine): string => {
  if (line.redacted || Either.isRight(decoded)) return text;
  const { paths, message } = decoded.left;
  const { row, ...where } = JSON.parse(text);
  return JSON.stringify({ ...where, paths, message, version, row });
};
