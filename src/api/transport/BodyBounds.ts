/** Limits on the size of bodies, and on large ones at once: they keep memory flat whatever a tenant answers. */

/** The most bytes of a body that is no page: what an error says fits into far less. */
const MOST_OF_ERROR = 1 << 20;

/** From how many bytes on a body is large: of such, one is taken in at a time. */
const LARGE = 1 << 20;

export class TooLarge extends Error {
  override readonly name = "TooLarge";
}

const mebibytes = (bytes: number): string => `${Number((bytes / 2 ** 20).toPrecision(3))} MiB`;

/**
 * Bodies of up to so many bytes, as sent and as unpacked. Past 1 MiB a body waits until it is the next to be read, and for
 * the large one before it: so all bodies together take `most` bytes, and 1 MiB for each request under way.
 */
export const make = (most: number) => {
  /** Bodies that wait, in order of arrival; the first is the one that is taken in. */
  const line: Array<() => void> = [];
  return {
    /**
     * @param isPage whether the answer is one, by its status
     * @param turn what a large body waits for before it stands in line: bodies are read in an order
     */
    watch: (isPage: () => boolean, turn: () => Promise<void>) => {
      let isOver = false;
      let place: (() => void) | undefined;
      const tooLarge = (bytes: number): TooLarge | undefined => {
        const limit = isPage() ? most : Math.min(most, MOST_OF_ERROR);
        return bytes > limit ? new TooLarge(`the body has more than ${mebibytes(limit)}`) : undefined;
      };
      const standInLine = async () => {
        await turn();
        if (isOver) return;
        await new Promise<void>((resume) => {
          line.push(place = resume);
          if (line.length === 1) resume();
        });
      };
      let entry: Promise<void> | undefined;
      return {
        /** Refuses a body that says beforehand that it is too large. */
        onLength: tooLarge,
        /** See {@link Receiver.onGrowth}. */
        onGrowth: (bytes: number): Promise<void> | undefined => {
          const error = tooLarge(bytes);
          if (error !== undefined) throw error;
          if (bytes <= LARGE || entry !== undefined) return undefined;
          return entry = standInLine();
        },
        /** Lets the next large body in. */
        end: () => {
          isOver = true;
          const index = place === undefined ? -1 : line.indexOf(place);
          if (index === -1) return;
          line.splice(index, 1);
          // It need not wait any longer, to be left.
          place?.();
          if (index === 0) line[0]?.();
        },
      };
    },
  };
};
