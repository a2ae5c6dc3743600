/**
 * Values at the queue's server, which all machines share: the rate of each tenant, jobs and workers. A value is replaced only by
 * whoever read it last, so that nobody ever holds a lock, and a process that is stopped holds nobody up.
 */

/** A value as it was read. */
export interface Read {
  /** Undefined where there is none. */
  readonly value: string | undefined;
  /** Changes with each replacement. */
  readonly version: number;
  /** The clock of the server, in milliseconds since the epoch. */
  readonly now: number;
}

/** A value among others. */
export interface Entry {
  readonly key: string;
  readonly value: string;
  /** Time since it was replaced last, in milliseconds. */
  readonly age: number;
}

export interface Values {
  readonly read: (key: string) => Promise<Read>;
  /** Replaces a value if its version is still that one. Tells whether it was. */
  readonly replace: (key: string, version: number, value: string) => Promise<boolean>;
  /** Sets a value, whatever there is. */
  readonly set: (key: string, value: string) => Promise<void>;
  readonly remove: (key: string) => Promise<void>;
  /** Gives the values whose keys begin so, in the order of their keys. */
  readonly list: (prefix: string) => Promise<ReadonlyArray<Entry>>;
  readonly close: () => Promise<void>;
}
