/**
 * A stop of the server, as its handlers take part in it.
 *
 * @module
 */
import * as Problem from "../Problem.ts";

/** A stop of the server, if one is under way, and what it has to end. */
export interface Shutdown {
  isStopping: boolean;
  /** Streams of events that are open: each is ended by a call. */
  readonly streams: Set<() => void>;
}

export const stopping = Problem.answer("unavailable", "The server is stopping");
