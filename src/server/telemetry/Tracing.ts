/**
 * Traces, sent to a collector over HTTP.
 *
 * @module
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Logger from "effect/Logger";
import { version } from "../../version.ts";

/** Loads what traces are made of. Within `try`, bundlers take it for what it is: an optional package. */
const loadTracer = async () => {
  try {
    const OtlpTracer = await import("@effect/opentelemetry/OtlpTracer");
    const OtlpSerialization = await import("@effect/opentelemetry/OtlpSerialization");
    return { OtlpTracer, OtlpSerialization };
  } catch (cause) {
    throw new Error("Cannot send traces as there is no @effect/opentelemetry: install it", { cause });
  }
};

/**
 * Traces to the root of an OTLP endpoint, the last of them when the layer ends. What they are made of is loaded only then. Lines of
 * the log, which may name people, are not in spans.
 */
export const layer = (telemetry: string | undefined): Layer.Layer<never> =>
  telemetry === undefined ? Layer.empty : Layer.unwrapEffect(Effect.promise(async () => {
    const { OtlpTracer, OtlpSerialization } = await loadTracer();
    return OtlpTracer.layer({
      url: `${telemetry.replace(/\/$/, "")}/v1/traces`,
      resource: { serviceName: "monocloud-sessions", serviceVersion: version },
    }).pipe(
      Layer.provide(OtlpSerialization.layerJson),
      Layer.provide(FetchHttpClient.layer),
      Layer.merge(Logger.remove(Logger.tracerLogger)),
    );
  }));
