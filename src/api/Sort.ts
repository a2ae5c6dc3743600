/** The orders in which the endpoint lists sessions. */

/** The keys that sessions can be sorted by. */
export const sortKeys = ["session_id", "initiated_at", "expires_at", "last_updated"] as const;

/** The keys that sessions can be sorted by. */
export type SortKey = typeof sortKeys[number];

/** A key and an order, as the endpoint takes it: 1 ascending, -1 descending. */
export type Sort = `${SortKey}:${1 | -1}`;
