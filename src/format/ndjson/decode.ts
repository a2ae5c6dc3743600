/** Reads sessions off the lines of an NDJSON file. */
import * as Either from "effect/Either";
import * as Option from "effect/Option";
import * as Predicate from "effect/Predicate";
import * as Schema from "effect/Schema";
import * as FieldOffsets from "../../scan/FieldOffsets.ts";
import { members, onOneLine } from "../../scan/JsonMembers.ts";
import * as PageScanner from "../../scan/PageScanner.ts";
import type { RowSlices } from "../../scan/RowSlices.ts";
import * as SchemaPredicate from "../../scan/SchemaPredicate.ts";
import { type Column, fieldColumns, valueAt } from "../../session/Columns.ts";
import * as RescuedData from "../../session/RescuedData.ts";
import * as Session from "../../session/Session.ts";
import { compared, type Flaw, placesIn, plain, type Row, wellFormed } from "../DecodedRow.ts";
import type { EncodedFile } from "../Format.ts";
import * as Lines from "../Lines.ts";

type Members = ReadonlyArray<readonly [name: string, value: string]>;

/** The text of an object of these members, in an order that does not tell where they came from. */
const settled = (entries: Members): string =>
  [...entries].map(([name, value]) => `${JSON.stringify(name)}:${value}`).sort().join();

const membersOf = (text: string): Members | undefined => {
  try {
    return Predicate.isRecord(JSON.parse(text)) ? members(onOneLine(text)) : undefined;
  } catch {
    return undefined;
  }
};

/** Gives rescued data with what the row had by the name `user_id` moved back; undefined where nothing was moved. */
const movedBack = (all: Members): Members | undefined => {
  const displaced = all.find(([name]) => name === "_rescued_data");
  const moved = displaced && membersOf(displaced[1]);
  return moved && [...all.filter((member) => member !== displaced), ...moved];
};

/**
 * Tells whether a text can be the rescued data of a line. The encoder puts `user_id` first, and moves one that the row had, with
 * another value, to `_rescued_data`; a row that had the same value is as it was. What the row had can't always be told
 * from the line, so there may be several texts.
 */
const saysWhat = (user: string, rescued: string | null) => (text: string | null): boolean => {
  if (text === null) return rescued === null;
  const found = membersOf(text);
  const others = membersOf(rescued ?? "{}");
  if (found === undefined || others === undefined) return false;
  const served = movedBack(others);
  const said = settled(found);
  return said === settled(others) || said === settled([...others, ["user_id", user]]) ||
    (served !== undefined && said === settled(served));
};

/** Gives the rescued data of a line as other formats have it: what the row had by the name `user_id` is moved back. */
const rescuedText = (rescued: string | null): string | null => {
  if (rescued === null || !rescued.includes('"_rescued_data"')) return rescued;
  const served = movedBack(membersOf(rescued) ?? []);
  return served === undefined
    ? rescued
    : `{${served.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(",")}}`;
};

type Field = Schema.Schema.AnyNoContext;
type Fields = Readonly<Record<string, Field | Schema.optional<Field>>>;

const withColumns = (fields: Fields, names: ReadonlyArray<string>): Fields =>
  Object.fromEntries(Object.entries(fields).filter(([name]) => names.includes(name)));

/** Read lines with these columns, as the version read them that knew no others: what is a column today was rescued data then. */
const linesWith = (names: ReadonlyArray<string>) => {
  placesIn(names);
  const metadata = withColumns(Session.Metadata.fields, names);
  const fields: Fields = {
    ...withColumns(Session.Session.fields, names),
    ...(Object.keys(metadata).length === 0
      ? {}
      : { last_metadata: Schema.optional(Schema.NullOr(Schema.Struct(metadata))) }),
  };
  const schema = Schema.Struct({ ...fields, user_id: Schema.String });
  const isShaped = SchemaPredicate.of(schema);
  const { scan, place } = PageScanner.make(schema, {
    accepts: (row) => isShaped(row) && !Session.isTooDeep(row),
  });
  const userPlace = place("texts", "user_id");
  const its = new Map<string, Column>(fieldColumns(fields, place).map((column) => [column.name, column]));
  const columns = compared.map(({ name }) => its.get(name));
  const rescuedAt = RescuedData.reader((kind, path) =>
    Option.getOrUndefined(Option.liftThrowable(place)(kind, path))
  );
  const rowAt = (rows: RowSlices, row: number): Row => {
    const { bytes, fields } = rows;
    const at = FieldOffsets.placeOf(fields, row, userPlace);
    const [from, end] = [fields.texts[at]!, fields.texts[at + 1]!];
    const userId = FieldOffsets.text(bytes, from, end);
    const served = FieldOffsets.json(bytes, from - 1, end < 0 ? ~(~end + 1) : end + 1);
    const rescued = rescuedAt(rows, row);
    return {
      values: columns.map((column, i) =>
        i === user ? wellFormed(userId) : column && wellFormed(valueAt(column, userId, rows, row))
      ),
      rescued: saysWhat(served, rescued),
      rescuedText: () => rescuedText(rescued),
      text: plain,
    };
  };
  return { scan, rowAt };
};

type LineReader = ReturnType<typeof linesWith>;

const user = compared.findIndex(({ name }) => name === "user_id");

const utf8 = new TextEncoder();

/** Read a line by itself. What is nested deeper than the stack allows is no session, whatever it says. */
const rowOf = ({ scan, rowAt }: LineReader, line: string): Row | Flaw => {
  try {
    const found = scan(utf8.encode(`[${line}]`));
    if (found === "more") return { flaw: "holds more values than a session has" };
    if (found?.slices.from.length !== 1) return { flaw: "is not JSON" };
    if (found.invalid.length === 0) return rowAt(found.slices, 0);
    const decoded = Session.decode(JSON.parse(line));
    return { flaw: Either.isLeft(decoded) ? `is no session: ${decoded.left.message}` : "has no user_id" };
  } catch (error) {
    return { flaw: error instanceof RangeError ? "is nested too deep" : "is not JSON" };
  }
};

const [OPEN, CLOSE, COMMA, LF] = [0x5b, 0x5d, 0x2c, 0x0a];

/** Make a list of lines: a comma behind each break. The bytes may end with a break, or within the last line. */
const listOf = (bytes: Uint8Array): { readonly list: Uint8Array; readonly count: number } => {
  let count = 1;
  const end = bytes.at(-1) === LF ? bytes.length - 1 : bytes.length;
  for (let at = bytes.indexOf(LF); at !== -1 && at < end; at = bytes.indexOf(LF, at + 1)) count++;
  const list = new Uint8Array(end + count + 1);
  list[0] = OPEN;
  let to = 1;
  for (let from = 0; from < end;) {
    const at = bytes.indexOf(LF, from);
    const next = at === -1 || at >= end ? end : at + 1;
    list.set(bytes.subarray(from, next), to);
    to += next - from;
    from = next;
    if (from < end) list[to++] = COMMA;
  }
  list[to++] = CLOSE;
  return { list: list.subarray(0, to), count };
};

/** Read lines at once, as one page; undefined where these are not as many sessions, each on its line. */
const rowsOf = (
  { scan, rowAt }: LineReader,
  lines: Uint8Array,
): ReadonlyArray<Row> | undefined => {
  try {
    const { list, count } = listOf(lines);
    const found = scan(list);
    if (
      found === undefined || found === "more" || found.invalid.length > 0 ||
      found.slices.from.length !== count
    ) {
      return undefined;
    }
    const { bytes, from, to } = found.slices;
    // A break lies between each two, and nowhere else: no string holds one.
    for (let row = 1; row < from.length; row++) {
      if (bytes.subarray(to[row - 1], from[row]).indexOf(0x0a) === -1) return undefined;
    }
    return from.map((_, row) => rowAt(found.slices, row));
  } catch {
    return undefined;
  }
};

/** Read the rows of an NDJSON file. Memory: a chunk, and the line it ends in. */
export async function* decode(
  file: EncodedFile,
  names: ReadonlyArray<string>,
): AsyncGenerator<ReadonlyArray<Row | Flaw>> {
  const reader = linesWith(names);
  for await (const bytes of Lines.whole(file.chunks())) {
    yield rowsOf(reader, bytes) ?? Lines.split(bytes).map((line) => rowOf(reader, line));
  }
}
