/**
 * A line of the log, as those who do not write Effect get it.
 *
 * @module
 */

/** A line of the log. */
export interface Line {
  /** When, in ISO 8601. */
  readonly time: string;
  readonly level: "INFO" | "WARN" | "ERROR";
  /** Event, such as `request` or `export done`. */
  readonly message: string;
  readonly [field: string]: string | number;
}
