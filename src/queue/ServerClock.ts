/**
 * The clock of a server on that of this machine, by what it said in its answers. The one that took the shortest time is right
 * most; an answer that was held up makes no turn late.
 */

/** The time, in milliseconds in one, by which the two may drift apart. */
const DRIFT = 0.001;
/** A difference of more is no delay: the server's clock was set, or it is another server. */
const SET = 1000;

export interface ServerClock {
  /** An answer came at a time here, and says the time there. */
  readonly hear: (came: number, now: number) => void;
  /** Gives the time here of a time there. */
  readonly here: (time: number) => number;
  readonly there: (time: number) => number;
}

export const make = (): ServerClock => {
  let heardAt = -Infinity;
  let difference = Infinity;
  return {
    hear: (came, now) => {
      const said = came - now;
      const known = difference + DRIFT * (came - heardAt);
      difference = said > known + SET ? said : Math.min(said, known);
      heardAt = came;
    },
    here: (time) => time + difference,
    there: (time) => time - difference,
  };
};
