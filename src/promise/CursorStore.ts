/**
 * Where cursors are kept.
 *
 * @module
 */

/**
 * A place for cursors, one a user: texts of JSON. A `Map` is one, and so is a table with a column of text. A cursor takes
 * some 300 bytes, in the midst of a user's list 17 bytes for each session delivered as well.
 */
export interface CursorStore {
  /** Gives the user's cursor; undefined or null if there is none. Asked as the users are read. */
  readonly get: (userId: string) => string | undefined | null | Promise<string | undefined | null>;
  /**
   * Keeps the user's cursor, in place of the one before. Waited for. Left out, the caller keeps `cursor` of each change by
   * itself: along with the sessions, in one transaction.
   */
  readonly set?: ((userId: string, cursor: string) => unknown) | undefined;
}
