/**
 * The clock of a server on that of this machine, by what it said in its answers. The one that took the shortest time is right
 * most; an answer that was held up makes no turn late.
 */

/** The time, in milliseconds in one, by which the two may drift apart. */
const DRIFT = 0.001;
/** A difference of more is no delay: the server's clock was set, or it is another server. */
const SET = 1000;

export const make = () => {
  let heardAt = -Infinity;
  let difference = Infinity;
  return {
    /** Takes note of an answer that came at a time here, and says the time there. */
    hear: (came: number, now: number): void => {
      const said = came - now;
      const known = difference + DRIFT * (came - heardAt);
      difference = said > known + SET ? said : Math.min(said, known);
      heardAt = came;
    },
    /** Gives the time here of a time there. */
    here: (time: number): number => time + difference,
    there: (time: number): number => time - difference,
  };
};
