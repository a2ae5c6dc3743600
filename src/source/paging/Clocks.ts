/** The time at the tenant: by the `Date` of its answer, and by our own clock where that says nothing. */

/** The time, as far as it is known. Seconds since the epoch. */
export interface Now {
  /** The latest time that has come for certain. Rows that bear a later one leave no cursor there. */
  readonly certain: number;
  /** The latest time that may have come. A later one can't be gone by. */
  readonly possible: number;
  readonly whose: "tenant" | "own";
}

/** The most that the tenant's clock and the one that a cursor or a time was made from differ by: a minute. */
const TENANT_TOLERANCE = 60;

/**
 * The most that our own clock is off by, either way: 5 minutes, as much as Kerberos grants clocks that nobody looks after. A
 * cursor that is too low by that costs a little more of the list to read again; one that is too high would lose changes.
 */
const OWN_TOLERANCE = 300;

/** A `Date` that is further off our clock than a day says nothing: no time zone explains it. */
const ABSURD = 86_400;

/** 2020. A clock that says less was never set, and has no say. */
const NEVER_SET = 1_577_836_800;

/** Tells the time from when an answer was served, by its own `Date` if it has one, and our clock. */
export const read = (servedAt: number | undefined, own: number): Now => {
  const isSet = own >= NEVER_SET;
  if (servedAt !== undefined && (!isSet || Math.abs(servedAt - own) <= ABSURD)) {
    const certain = isSet ? Math.min(servedAt, Math.floor(own) + OWN_TOLERANCE) : servedAt;
    return { certain, possible: servedAt + TENANT_TOLERANCE, whose: "tenant" };
  }
  return isSet
    ? { certain: Math.floor(own) - OWN_TOLERANCE, possible: own + OWN_TOLERANCE, whose: "own" }
    : { certain: Infinity, possible: Infinity, whose: "own" };
};
