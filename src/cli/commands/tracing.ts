/** Traces of runs on many machines: the run's, of which the work on each of its shards is a part. */
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Platform from "../../api/transport/Platform.ts";
import type { Transport } from "../../api/transport/Transport.ts";
import * as Trace from "../../server/telemetry/Trace.ts";
import { variables } from "../../server/Variables.ts";
import { type UsageError, usageError } from "../ExitCode.ts";
import * as Settings from "../options/Settings.ts";

/** The destination of traces; undefined where there are to be none. */
export const destination: Effect.Effect<string | undefined, UsageError> = Effect.flatMap(
  // Without the right to read it, there is none.
  Effect.orElseSucceed(Settings.variable(variables.telemetry), () => undefined),
  (url) => {
    if (!url) return Effect.succeed(undefined);
    return URL.canParse(url)
      ? Effect.succeed(url)
      : usageError(`${variables.telemetry} must be the URL of a collector: http://HOST:4318`);
  },
);

/** Sends traces there. What that takes is loaded only then. */
const layer = (to: string | undefined): Layer.Layer<never> =>
  to === undefined ? Layer.empty : Layer.unwrapEffect(
    Effect.map(Effect.promise(() => import("../../server/telemetry/Tracing.ts")), ({ layer }) => layer(to)),
  );

/** Leads to tenants, with a span for each request if there are traces. */
export const transport = (to: string | undefined): Layer.Layer<Transport> =>
  to === undefined ? Platform.transport : Layer.unwrapEffect(
    Effect.map(
      Effect.promise(() => import("../../server/telemetry/Metrics.ts")),
      ({ counted, layer }) => Layer.provide(counted, Layer.merge(layer, Platform.transport)),
    ),
  );

/** Send the spans of work there, the last before it ends. */
export const sending = (to: string | undefined) => <A, E, R>(work: Effect.Effect<A, E, R>) =>
  Effect.provide(work, layer(to));

/** Do a run in a span of its own, if there are traces of it. */
export const ofRun = (
  queue: { readonly traces: string | undefined } | undefined,
  attributes: Readonly<Record<string, string>>,
) =>
<A, E, R>(work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  queue?.traces === undefined ? work : sending(queue.traces)(Trace.span("run", attributes)(work));

/** Name the span of a run, for the work on its shards to be a part of. */
export const nameFor = (job: string): Effect.Effect<string | undefined> =>
  Effect.zipRight(Effect.annotateCurrentSpan("job", job), Trace.current);
