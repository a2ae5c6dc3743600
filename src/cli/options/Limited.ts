/** An export that ends after so many sessions, for a look at them. */
import * as Stream from "effect/Stream";
import * as Batch from "../../session/Batch.ts";

export interface Limited<E, R> {
  readonly batches: Stream.Stream<Batch.Batch, E, R>;
  readonly isCut: () => boolean;
}

/** Keep the first sessions of a batch that others follow, whose walk has so not come to its end. */
const cut = ({ end: _, ...batch }: Batch.Batch, most: number): Batch.Batch => {
  let kept = 0;
  return Batch.filter(batch, () => kept++ < most);
};

/** End the batches after so many sessions; no request is made for more. */
export const to = <E, R>(
  batches: Stream.Stream<Batch.Batch, E, R>,
  most: number | undefined,
): Limited<E, R> => {
  if (most === undefined) return { batches, isCut: () => false };
  let left = most;
  const counted = Stream.map(batches, (batch) => {
    const size = Batch.size(batch);
    const some = size < left ? batch : cut(batch, left);
    left = Math.max(0, left - size);
    // Said of each: batches of one chunk are all counted before the first of them is taken.
    return { batch: some, isLast: left === 0 };
  });
  return {
    batches: Stream.map(Stream.takeUntil(counted, ({ isLast }) => isLast), ({ batch }) => batch),
    isCut: () => left === 0,
  };
};
