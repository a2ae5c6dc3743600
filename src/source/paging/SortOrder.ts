/** The orders a list can be read in, and what a walk goes by in the rows of an answer. */
import { hashText } from "./ObservedIds.ts";

export interface Order {
  /** As the endpoint takes it, such as `initiated_at:-1`. */
  readonly sort: string;
  /** The row's field it sorts by. */
  readonly key: string;
  readonly type: "number" | "string";
  readonly descending: boolean;
  /** True if a row's key never changes. If it can, the walk remembers every id and is never verified. */
  readonly fixed: boolean;
  /** True if no two rows share a key: then a page that begins with the frontier itself overlaps. */
  readonly unique?: boolean;
}

/** A kind of list, and the orders to read it in. */
export interface ListShape {
  /** The orders to try, best first; at least one. */
  readonly orders: readonly [Order, ...Array<Order>];
  /**
   * In the first order, the walk is done once it is past this key: mostly after a page of ten rows, which it asks for first.
   */
  readonly until?: Key | undefined;
}

export type Key = number | string;

/**
 * A row of an answer. One that is not what the list should hold, so that no field of it counts, is given as a text that
 * tells it apart.
 */
export type Row = Readonly<Record<string, unknown>> | string;

/** The rows of an answer, as far as a walk goes by them. */
export interface WalkRows {
  readonly count: number;
  /** Gives the id of a row, or a text that stands for all of it. Most are never asked for. */
  readonly id: (index: number) => string;
  /** A hash of the id, as of `ObservedIds.hashText`. */
  readonly hash: (index: number) => number;
  /** Gives the key of each row in that order; undefined for one without a place in it, as every row without an id. */
  readonly keys: (order: Order) => ReadonlyArray<Key | undefined>;
}

/** Gives the id of a row in that field, if it has one. */
const ownId = (row: Row, id: string): string | undefined => {
  const found = typeof row === "string" ? row : row[id];
  return typeof found === "string" ? found : undefined;
};

/** Gives the id of a row in that field, or its whole text. */
export const idOf = (row: Row, id: string): string => ownId(row, id) ?? JSON.stringify(row);

/** Gives the key of a row in that order, if it has a place in it. */
export const keyOf = (row: Row, id: string, order: Order): Key | undefined => {
  if (typeof row === "string" || ownId(row, id) === undefined) return undefined;
  const key = row[order.key];
  if (order.type === "number") return typeof key === "number" ? key : undefined;
  return typeof key === "string" ? key : undefined;
};

/** Gives such rows as a walk goes by them. */
export const walkRows = (rows: ReadonlyArray<Row>, id: string): WalkRows => ({
  count: rows.length,
  id: (index) => idOf(rows[index]!, id),
  hash: (index) => hashText(idOf(rows[index]!, id)),
  keys: (order) => rows.map((row) => keyOf(row, id, order)),
});

/** Compares keys: below 0 if `a` comes before `b` in the order; NaN if one of them is no key. */
export const compare = (order: Order, a: Key | undefined, b: Key | undefined): number => {
  if (a === undefined || b === undefined) return NaN;
  const sign = a === b ? 0 : a < b ? -1 : a > b ? 1 : NaN;
  return order.descending ? -sign : sign;
};

/** Tells whether the keys that are there stand in their order; false if there are rows, but none has a key. */
export const isInOrder = (order: Order, keys: ReadonlyArray<Key | undefined>): boolean => {
  let last: Key | undefined;
  for (const key of keys) {
    if (key === undefined) continue;
    if (last !== undefined && !(compare(order, last, key) <= 0)) return false;
    last = key;
  }
  return last !== undefined || keys.length === 0;
};
