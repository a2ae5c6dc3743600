/**
 * Spans that name nobody. Whatever collects traces gets the words of errors, and ours say which user an error is about, or
 * quote a URL that does.
 *
 * @module
 */
import type * as Headers from "@effect/platform/Headers";
import * as HttpTraceContext from "@effect/platform/HttpTraceContext";
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Option from "effect/Option";
import * as Runtime from "effect/Runtime";

/** Name an error, without a word of what it is about: `ApiError.Unauthorized`. */
export const reasonOf = (error: unknown): string => {
  const { name = "Error", _tag = name, reason } = (error ?? {}) as {
    readonly name?: string;
    readonly _tag?: string;
    readonly reason?: unknown;
  };
  return typeof reason === "string" ? `${_tag}.${reason}` : _tag;
};

/** Names an error without its words, which may name people: its reason, its file, and for a fault its place in the code. */
export const about = (error: unknown): {
  readonly reason: string;
  readonly path?: string;
  readonly at?: string;
} => {
  const cause = Runtime.isFiberFailure(error) ? Cause.squash(error[Runtime.FiberFailureCauseId]) : error;
  const { _tag, path, message = "", stack = "" } = (cause ?? {}) as {
    readonly _tag?: unknown;
    readonly path?: unknown;
    readonly message?: string;
    readonly stack?: string;
  };
  const [, at] = /^ +at (.+)$/m.exec(stack.slice(stack.indexOf(message) + message.length)) ?? [];
  return {
    reason: reasonOf(cause),
    ...(typeof path === "string" && { path }),
    ...(_tag === undefined && at !== undefined && { at }),
  };
};

/** Traces work. Of its failure the span has the `reason` alone. */
export const span =
  (name: string, attributes: Readonly<Record<string, string | number>>) =>
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

/** The span that is under way, by its name in the header `traceparent`; undefined where there is none. */
export const current: Effect.Effect<string | undefined> = Effect.map(
  Effect.option(Effect.currentSpan),
  (span) => Option.getOrUndefined(Option.map(span, HttpTraceContext.toHeaders))?.["traceparent"],
);

/** Does work as a part of a span of another process, by the headers that name it. What is no such name counts for none. */
export const within =
  (headers: Headers.Headers) => <A, E, R>(work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Option.match(HttpTraceContext.fromHeaders(headers), {
      onNone: () => work,
      onSome: (span) => Effect.withParentSpan(work, span) as Effect.Effect<A, E, R>,
    });
