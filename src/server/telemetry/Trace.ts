/**
 * Spans that name nobody. Whatever collects traces gets the words of errors, and ours say which user an error is about, or
 * quote a URL that does.
 *
 * @module
 */
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";

/** Name an error, without a word of what it is about: `ApiError.Unauthorized`. */
export const reasonOf = (error: unknown): string => {
  const { _tag = "Error", reason } = (error ?? {}) as { readonly _tag?: string; readonly reason?: string };
  return reason === undefined ? _tag : `${_tag}.${reason}`;
};

/** Traces work. Of its failure the span has the `reason` alone. */
export const span =
  (name: string, attributes: Readonly<Record<string, string>>) =>
  <A, E, R>(work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.exit(work).pipe(
      Effect.tap((exit) =>
        Exit.isSuccess(exit)
          ? Effect.void
          : Effect.annotateCurrentSpan("reason", reasonOf(Cause.squash(exit.cause)))
      ),
      Effect.withSpan(name, { attributes }),
      Effect.flatten,
    ) as Effect.Effect<A, E, R>;
