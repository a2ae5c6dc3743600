/** What a case of the suite is given, and what it gives. */
import type { RunningTenant } from "./measure.ts";
import type { Section } from "./report.ts";

/** What all cases share. */
export interface Bench {
  readonly tenant: RunningTenant;
  /** For files. Removed in the end. */
  readonly folder: string;
  readonly isQuick: boolean;
}

/** A case: measures, and gives a section of the report. */
export type Case = (bench: Bench) => Promise<Section>;
