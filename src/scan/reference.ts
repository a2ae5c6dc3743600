/**
 * The rows of a page by `JSON.parse` and a predicate: the contract of {@link PageScanner}, as plainly as it can be had. Read
 * this one first. The scanner gives it the few rows that it can't tell by itself, and a test holds the two equal.
 */
import * as FieldOffsets from "./FieldOffsets.ts";
import { members } from "./JsonMembers.ts";
import * as RowSlices from "./RowSlices.ts";
import * as ScanPlan from "./ScanPlan.ts";

export interface Scanned {
  readonly slices: RowSlices.RowSlices;
  readonly invalid: ReadonlyArray<number>;
}

export type Accepts = (row: unknown) => boolean;

const utf8 = { encoder: new TextEncoder(), decoder: new TextDecoder("utf-8", { fatal: true }) };

/**
 * Read some rows, and put down where their fields are. These are then in bytes appended to those of the page, written as
 * there but each name once: so a row may have a field twice, or its name with escapes.
 */
export const readRows = (
  plan: ScanPlan.ScanPlan,
  accepts: Accepts,
  slices: RowSlices.Slices,
  fields: FieldOffsets.Writable,
  indices: ReadonlyArray<number>,
): Scanned => {
  const invalid: Array<number> = [];
  const reserved = new Set<number>();
  const added: Array<Uint8Array> = [slices.bytes];
  let end = slices.bytes.length;
  /** Append JSON text; give its place, with the end complemented where it is not simply its bytes. */
  const put = (json: string, quote: 0 | 1): readonly [from: number, end: number] => {
    const bytes = utf8.encoder.encode(json);
    const from = end + quote;
    added.push(bytes);
    end += bytes.length;
    const isPlain = bytes.length === json.length && !json.includes("\\");
    return [from, isPlain ? end - quote : ~(end - quote)];
  };
  const readObject = (shape: ScanPlan.Shape, row: number, text: string): void => {
    for (const [name, value] of members(text)) {
      const field = shape.fields.find((field) => field.name.text === name);
      if (field === undefined) {
        if (shape.names.has(name)) reserved.add(row);
        (fields.others[row] ??= []).push(shape.slot, ...put(JSON.stringify(name), 1), ...put(value, 0));
      } else if (value === "null") continue;
      else if (field.kind === ScanPlan.OBJECT) readObject(field.inside!, row, value);
      else if (field.kind === ScanPlan.NUMBER) {
        fields.numbers[row * fields.numberCount + field.slot] = Number(value);
      } else {fields.texts.set(
          put(value, field.kind === ScanPlan.TEXT ? 1 : 0),
          FieldOffsets.placeOf(fields, row, field.slot),
        );}
    }
  };
  for (const row of indices) {
    const text = RowSlices.isHuge(slices, row) ? undefined : RowSlices.text(slices, row);
    if (text !== undefined && accepts(JSON.parse(text))) readObject(plan.shape, row, text);
    else invalid.push(row);
  }
  const bytes = added.length === 1 ? slices.bytes : RowSlices.concat(added);
  return { slices: { ...slices, bytes, fields, reserved }, invalid };
};

/**
 * Read a whole page. Gives undefined where it is JSON but no array, and `"more"` where it has more rows than that, or values
 * than may be parsed.
 *
 * @throws {SyntaxError} where it is not JSON, and a `TypeError` where it is not UTF-8.
 */
export const scan = (
  plan: ScanPlan.ScanPlan,
  accepts: Accepts,
  bytes: Uint8Array,
  most = Infinity,
): Scanned | "more" | undefined => {
  if (RowSlices.hasMore(bytes, most)) return "more";
  const page: unknown = JSON.parse(utf8.decoder.decode(bytes));
  if (!Array.isArray(page)) return undefined;
  const slices = RowSlices.cut(bytes);
  return readRows(plan, accepts, slices, FieldOffsets.empty(plan.counts, page.length), [...page.keys()]);
};
