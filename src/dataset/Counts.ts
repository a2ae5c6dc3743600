/** Numbers in a manifest and a journal, within bounds. */
import * as Schema from "effect/Schema";

/** No count comes near that, nor do sums of a few of them to what a number can hold. */
export const Count = Schema.Int.pipe(Schema.between(0, 2 ** 50));

/** No dataset comes to so many runs, or to parts of so many numbers. */
export const MOST = 1e9;

export const RunNumber = Schema.Int.pipe(Schema.between(1, MOST));
export const PartNumber = Schema.Int.pipe(Schema.between(0, MOST));
