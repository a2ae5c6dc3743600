/** Sinks for bytes: opened, written to, and either committed or, when the scope closes first, undone. */
import * as Effect from "effect/Effect";
import * as Schema from "effect/Schema";
import type * as Scope from "effect/Scope";
import type { Allocate } from "./Allocate.ts";

/** The cause of a failure; in messages, what words for it need: the code of the system, and its own words. */
const Cause = Schema.transform(
  Schema.Struct({ code: Schema.optional(Schema.String), message: Schema.String }),
  Schema.Unknown,
  {
    strict: true,
    decode: ({ code, message }) => Object.assign(new Error(message), code === undefined ? {} : { code }),
    encode: (cause) => {
      const { code } = (cause ?? {}) as { readonly code?: unknown };
      return {
        ...(typeof code === "string" && { code }),
        message: cause instanceof Error ? cause.message : String(cause),
      };
    },
  },
);

/** Bytes could not be brought to where they should go. */
export class SinkError extends Schema.TaggedError<SinkError>()("SinkError", {
  /** `Closed`: the reader has gone, as with `| head`. */
  reason: Schema.Literal("Open", "Write", "Commit", "Closed"),
  /** The path or the name of the output. */
  path: Schema.String,
  cause: Schema.optional(Cause),
}) {
  override get message(): string {
    const doing = { Open: "open", Write: "write", Commit: "complete", Closed: "go on writing" }[this.reason];
    return `Cannot ${doing} ${this.path}: ${explain(this.cause)}`;
  }
}

const codes: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full: free some space or choose another place",
  EDQUOT: "the disk quota is used up: free some space or choose another place",
  EFBIG: "the file is larger than the system allows: raise the limit or choose another place",
  EACCES: "permission denied: choose another place, or change who may write there",
  EPERM: "permission denied: choose another place, or change who may write there",
  EROFS: "the file system is read-only: choose another place",
  ENOENT: "its folder does not exist: create it first",
  EEXIST: "a file of that name is in the way: choose another place, or remove it",
  ENOTDIR: "part of its path is a file, not a folder",
  EISDIR: "it is a folder: name a file",
  EPIPE: "its reader has gone",
};

const explain = (cause: unknown): string => {
  if (cause === undefined) return "its reader has gone";
  const { code } = (cause ?? {}) as { readonly code?: unknown };
  const words = typeof code === "string" ? codes[code] : undefined;
  return words ?? (cause instanceof Error ? cause.message : String(cause));
};

/** The receipt of a complete output. */
export interface Receipt {
  readonly bytes: number;
  /** Digest of the bytes, in lower-case hexadecimal; where the output can be read back. */
  readonly sha256?: string | undefined;
}

/** An open output. */
export interface OpenSink {
  /**
   * Gives a place for the bytes of the next write: they are then taken over as they lie. Left out by those that keep the
   * bytes they are given, which nobody may use again.
   */
  readonly allocate?: Allocate | undefined;
  /** Returns when the bytes have been taken over, which is what holds back a source faster than its output. */
  readonly write: (bytes: Uint8Array<ArrayBuffer>) => Effect.Effect<void, SinkError>;
  /**
   * Brings all bytes to where they are kept, so that commit only makes them visible. Left out by those that wait for a reader,
   * or that are visible from the first byte.
   */
  readonly prepare?: Effect.Effect<void, SinkError> | undefined;
  /** Makes the output complete and visible. Nothing may be written after it. */
  readonly commit: Effect.Effect<Receipt, SinkError>;
}

/** A place for bytes. */
export interface Sink {
  /** As people know it: a path, or `standard output`. */
  readonly name: string;
  /** Undone when the scope closes before {@link Sink.commit}. */
  readonly open: Effect.Effect<OpenSink, SinkError, Scope.Scope>;
}

/**
 * Completes outputs together. What may wait, or fail for lack of room, comes before the first of them is visible; from then on,
 * `andThen` included, nobody interrupts.
 */
export const commitAll = <A, E, R>(
  sinks: ReadonlyArray<OpenSink>,
  andThen: (receipts: ReadonlyMap<OpenSink, Receipt>) => Effect.Effect<A, E, R>,
): Effect.Effect<A, E | SinkError, R> =>
  Effect.gen(function* () {
    const receipts = new Map<OpenSink, Receipt>();
    const commit = (sink: OpenSink) => Effect.map(sink.commit, (receipt) => void receipts.set(sink, receipt));
    for (const sink of sinks) yield* sink.prepare ?? commit(sink);
    const prepared = sinks.filter((sink) => !receipts.has(sink));
    return yield* Effect.uninterruptible(
      Effect.zipRight(
        Effect.forEach(prepared, commit, { discard: true }),
        Effect.suspend(() => andThen(receipts)),
      ),
    );
  });
