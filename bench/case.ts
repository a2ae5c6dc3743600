/** Cases of the suite. */
import type { RunningTenant } from "./measure.ts";
import type { Section } from "./report.ts";

/** The tenant and the folder that all cases share. */
export interface Bench {
  readonly tenant: RunningTenant;
  /** For files. Removed in the end. */
  readonly folder: string;
  readonly isQuick: boolean;
}

/** A case: measures, and gives a section of the report. */
export type Case = (bench: Bench) => Promise<Section>;
