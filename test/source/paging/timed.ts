/** A list of rows in order of time, that can be read by id as well. */
import type * as PageWalk from "../../../src/source/paging/PageWalk.ts";

/** Newest first, or by id. */
export const shape: PageWalk.ListShape = {
  orders: [
    { sort: "time:-1", key: "time", type: "number", descending: true, fixed: true },
    { sort: "id:1", key: "id", type: "string", descending: false, fixed: true, unique: true },
  ],
};

/** A row of it. */
export interface Row extends Readonly<Record<string, unknown>> {
  readonly id: string;
  readonly time: number;
}
