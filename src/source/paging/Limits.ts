/** The numbers that options of a walk keep to. */

/** The size of page that a tenant gives where none is asked for; no tenant is expected to give less. */
export const DOCUMENTED_SIZE = 10;
/** The smallest page size a walk may be given: with smaller ones, too few sizes are left to overlap by. */
export const leastSize = DOCUMENTED_SIZE;

/**
 * The largest page size a walk may be given. So many sessions are some 20 MB, and half a second in which nothing else is
 * done.
 */
export const mostSize = 50_000;

/** The time below the cursor of the run before that a run reads, in seconds: 5 minutes. */
export const LOOKBACK = 300;
