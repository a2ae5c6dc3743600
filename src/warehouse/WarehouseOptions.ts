/** Options that every run into a warehouse has. */
import * as Duration from "effect/Duration";
import type * as Attempt from "./Attempt.ts";
import type * as TableRows from "./TableRows.ts";
import type { Target } from "./Target.ts";

/** Options of a run into a warehouse. */
export interface WarehouseOptions extends Attempt.AttemptOptions {
  readonly target: Target;
  /** Marks what has ended in `_ended_at`, or deletes it. @default {"soft"} */
  readonly deletes?: "soft" | "hard" | undefined;
  /** Keeps every version from now on, in `sessions_history`. Once begun, later runs go on with it. @default {false} */
  readonly history?: boolean | undefined;
  /** What becomes of text with NUL or half a surrogate pair: U+FFFD takes its place, or its row is quarantined. @default {"replace"} */
  readonly badText?: TableRows.BadText | undefined;
  /** Commits once so many rows wait. @default {250_000} */
  readonly checkpointRows?: number | undefined;
  /** Commits once the first of them has waited so long. @default {30 seconds} */
  readonly checkpointEvery?: Duration.DurationInput | undefined;
}

interface Settled {
  readonly deletes: "soft" | "hard";
  readonly checkpointRows: number;
  readonly checkpointEvery: number;
  readonly take: TableRows.TakeOptions;
}

/** Give options their defaults. */
export const settle = (
  { target, deletes = "soft", badText = "replace", checkpointRows = 250_000, checkpointEvery = "30 seconds" }:
    WarehouseOptions,
): Settled => ({
  deletes,
  checkpointRows,
  checkpointEvery: Duration.toMillis(checkpointEvery),
  take: { badText, keyBytes: target.dialect.keyBytes ?? Infinity },
});
