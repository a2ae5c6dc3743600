/**
 * The orders a list can be read in, and what a walk goes by in the rows of an answer.
 *
 * @module
 */

/** An order to read a list in. */
export interface Order {
  /** As the endpoint takes it, such as `initiated_at:-1`. */
  readonly sort: string;
  /** The row's field it sorts by. */
  readonly key: string;
  readonly type: "number" | "string";
  readonly descending: boolean;
  /** Whether a row's key never changes. If it can, the walk remembers every id and can't vouch for the result. */
  readonly fixed: boolean;
}

/** How a kind of list is read. */
export interface ListShape {
  /** The row's field that tells rows apart. */
  readonly id: string;
  /** The orders to try, best first; at least one. */
  readonly orders: readonly [Order, ...Array<Order>];
  /** In the first order, the walk is done once it is past this key: mostly after a page of ten rows, which it asks for first. */
  readonly until?: Key | undefined;
}

/** What a list is sorted by. */
export type Key = number | string;

/** A row of an answer. One that is not what the list should hold, so that no field of it counts, is given as a text that tells it apart. */
export type Row = Readonly<Record<string, unknown>> | string;

/** What tells an answer's rows apart, and where they stand. A row without a place has an id, if only that text, but no key. */
export interface Stretch {
  readonly ids: ReadonlyArray<string>;
  readonly keys: ReadonlyArray<Key | undefined>;
}

/** The row's key in that order, if it has one. */
export const keyOf = (row: Row, order: Order): Key | undefined => {
  const key = typeof row === "string" ? undefined : row[order.key];
  if (order.type === "number") return typeof key === "number" ? key : undefined;
  return typeof key === "string" ? key : undefined;
};

/** What the walk goes by of these rows. */
export const stretchOf = (rows: ReadonlyArray<Row>, id: string, order: Order): Stretch => {
  const ids: Array<string> = [];
  const keys: Array<Key | undefined> = [];
  for (const row of rows) {
    const found = typeof row === "string" ? row : row[id];
    const isId = typeof found === "string";
    ids.push(isId ? found : JSON.stringify(row));
    keys.push(isId ? keyOf(row, order) : undefined);
  }
  return { ids, keys };
};

/** Below 0 if `a` comes before `b` in the order; NaN if one of them is no key. */
export const compare = (order: Order, a: Key | undefined, b: Key | undefined): number => {
  if (a === undefined || b === undefined) return NaN;
  const sign = a === b ? 0 : a < b ? -1 : a > b ? 1 : NaN;
  return order.descending ? -sign : sign;
};

/** Whether the keys that are there stand in their order; false if there are rows, but none has a key. */
export const isInOrder = (order: Order, keys: ReadonlyArray<Key | undefined>): boolean => {
  let last: Key | undefined;
  for (const key of keys) {
    if (key === undefined) continue;
    if (last !== undefined && !(compare(order, last, key) <= 0)) return false;
    last = key;
  }
  return last !== undefined || keys.length === 0;
};
