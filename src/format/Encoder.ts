/**
 * What every output format is: a synchronous machine that takes batches and gives bytes. No I/O, no Effect,
 * so that it runs in a worker or a browser as it does on a server.
 *
 * @module
 */
import * as Batch from "../session/Batch.ts";
import * as Room from "../sink/Room.ts";

/** What an encoder needs of a batch. */
export type Encodable = Pick<Batch.Batch, "userId" | "sessions" | "source">;

/**
 * One file in the making. Made for one file, fed batches in any number and of any size, finished once. The
 * bytes of all calls, in order, are the file.
 *
 * Both functions throw an `Error` once the encoder is finished, or after one of them has thrown.
 */
export interface Encoder {
  /**
   * The bytes ready after this batch; maybe none. If `room` was asked for them, once a call at most, they lie there. If it is
   * left out the caller may keep them: no later call changes them.
   */
  readonly encode: (batch: Encodable, room?: Room.Room) => Uint8Array<ArrayBuffer>;
  /** The rest of the file. Called also when there was no batch: an empty export is a valid file. */
  readonly finish: () => Uint8Array<ArrayBuffer>;
}

/** A file format, with its options settled: makes an encoder for each file of an export. */
export interface Format {
  readonly name: "ndjson" | "csv" | "parquet";
  /** Of a file name, without the dot. */
  readonly extension: string;
  /** The media type, for an HTTP response. */
  readonly contentType: string;
  readonly make: () => Encoder;
}

/** What an encoder does, without its rules. */
export interface Work {
  readonly encode: (batch: Encodable, room: Room.Room) => Uint8Array<ArrayBuffer>;
  readonly finish: () => Uint8Array<ArrayBuffer>;
}

/**
 * An encoder that keeps the rules of {@link Encoder} about what may be called when, over functions that
 * needn't. They are given a `source` only where it says what `sessions` say.
 *
 * @example
 * ```ts
 * import { Encoder } from "monocloud-sessions";
 *
 * const utf8 = new TextEncoder();
 * const ids = Encoder.make("session_id list", {
 *   encode: ({ sessions }) => utf8.encode(sessions.map((session) => `${session.session_id}\n`).join("")),
 *   finish: () => new Uint8Array(0),
 * });
 * console.assert(ids.encode({ userId: "alice", sessions: [] }).length === 0);
 * ```
 */
export const make = (name: string, { encode, finish }: Work): Encoder => {
  let state: "open" | "finished" | "broken" = "open";
  const run = <A>(action: "encode" | "finish", work: () => A): A => {
    if (state === "finished") {
      throw new Error(`Cannot ${action} as the ${name} encoder is finished: make one for each file`);
    }
    if (state === "broken") {
      throw new Error(`Cannot ${action} as the ${name} encoder has thrown: its file is incomplete`);
    }
    state = "broken"; // unless the work returns
    const result = work();
    state = action === "finish" ? "finished" : "open";
    return result;
  };
  return {
    encode: (batch, room = Room.own) => {
      const source = Batch.sourceOf(batch);
      return run(
        "encode",
        () => encode(source === batch.source ? batch : Batch.make(batch.userId, batch.sessions), room),
      );
    },
    finish: () => run("finish", finish),
  };
};
