/**
 * Reads sessions off the lines of an NDJSON part.
 *
 * @module
 */
import * as Either from "effect/Either";
import * as Predicate from "effect/Predicate";
import { rescue } from "../../session/Columns.ts";
import { members, onOneLine } from "../../scan/JsonText.ts";
import * as Session from "../../session/Session.ts";
import * as Lines from "../Lines.ts";
import { compared, type Flaw, type Row, type Value } from "../Row.ts";

/** The text of an object of these members, in an order that does not tell where they came from. */
const settled = (entries: ReadonlyArray<readonly [string, string]>): string =>
  [...entries].map(([name, value]) => `${JSON.stringify(name)}:${value}`).sort().join();

const membersOf = (text: string): ReadonlyArray<readonly [string, string]> | undefined => {
  try {
    return Predicate.isRecord(JSON.parse(text)) ? members(onOneLine(text)) : undefined;
  } catch {
    return undefined;
  }
};

type UserSession = Session.Session & { readonly user_id: string };

const withoutUser = ({ user_id: _, ...session }: UserSession): Session.Session => session;

/**
 * Whether a text can be the rescued data of a line. The encoder puts `user_id` first, and moves one that the row had, with
 * another value, to `_rescued_data`; a row that had the same value is as it was. What the row had can't always be told
 * from the line, so there may be several texts.
 */
const saysWhat = (line: string, session: UserSession) => (text: string | null): boolean => {
  if (text === null) return rescue(withoutUser(session)) === null;
  const found = membersOf(text);
  const all = membersOf(rescue(session, line) ?? "");
  if (found === undefined || all === undefined) return false;
  const others = all.filter(([name]) => name !== "user_id");
  const displaced = others.find(([name]) => name === "_rescued_data")?.[1];
  const moved = displaced === undefined ? undefined : membersOf(displaced);
  const said = settled(found);
  return said === settled(others) || said === settled(all) ||
    (moved !== undefined &&
      said === settled([...others.filter(([name]) => name !== "_rescued_data"), ...moved]));
};

const wellFormed = (value: Value): Value => {
  if (typeof value === "string") return value.isWellFormed() ? value : value.toWellFormed();
  return typeof value === "object" && value !== null ? value.map((text) => text.toWellFormed()) : value;
};

const read = (line: string): Row | Flaw => {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return { flaw: "is not JSON" };
  }
  const decoded = Session.decode(value);
  if (Either.isLeft(decoded)) return { flaw: `is no session: ${decoded.left.message}` };
  const session = decoded.right as UserSession;
  if (typeof session.user_id !== "string") return { flaw: "has no user_id" };
  return {
    values: compared.map((column) => wellFormed(column.get(session, session.user_id, undefined, 0))),
    rescued: saysWhat(line, session),
    text: "plain",
  };
};

/** What is nested deeper than the stack allows is no session, whatever it says. */
const rowOf = (line: string): Row | Flaw => {
  try {
    return read(line);
  } catch (error) {
    if (error instanceof RangeError) return { flaw: "is nested too deep" };
    throw error;
  }
};

/** The rows of an NDJSON part. Memory: a chunk, and the line it ends in. */
export async function* rows(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<ReadonlyArray<Row | Flaw>> {
  for await (const lines of Lines.of(chunks)) yield lines.map(rowOf);
}
