/**
 * Metrics of the server, as Prometheus reads them.
 *
 * @module
 */
import * as Clock from "effect/Clock";
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Layer from "effect/Layer";
import * as Batch from "../../session/Batch.ts";
import type * as Export from "../../export/Export.ts";
import { Transport } from "../../api/transport/Transport.ts";

/** Upper bounds of the histogram's buckets, in seconds. */
const BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** Outcome of a download: `complete`, `aborted` as it could not be completed, `left` by its reader. */
export type Outcome = "complete" | "aborted" | "client_closed";

/** The counts of one server since it began. */
export class Metrics extends Context.Tag("monocloud-sessions/Metrics")<Metrics, ReturnType<typeof make>>() {}

/** A metric and its values. */
export interface Family {
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  /** Each with what follows the name: labels, or the suffix of a histogram. */
  readonly values: ReadonlyArray<readonly [rest: string, value: number]>;
}

/** Make a metric of its values, or of the one that it has. */
export const family = (
  type: Family["type"],
  name: string,
  help: string,
  values: number | Family["values"],
): Family => ({ type, name, help, values: typeof values === "number" ? [["", values]] : values });

/** A label as it follows a name. */
export const label = (name: string, value: string): string =>
  `{${name}="${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"}`;

const lines = ({ name, type, help, values }: Family): string =>
  `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${
    values.map(([rest, value]) => `${name}${rest} ${value}\n`).join("")
  }`;

const make = () => {
  const requests = new Map<string, number>();
  const buckets = BOUNDS.map(() => 0);
  const sums = { seconds: 0, answers: 0, sessions: 0, open: 0 };
  const bytes = { download: 0, export: 0 };
  const outcomes: Record<Outcome, number> = { complete: 0, aborted: 0, client_closed: 0 };
  return {
    /** A request to the tenant was answered with this status (or `error`, `interrupted`), and when its answer began. */
    answered: (status: string, seconds: number): void => {
      requests.set(status, (requests.get(status) ?? 0) + 1);
      sums.seconds += seconds;
      sums.answers++;
      const place = BOUNDS.findIndex((bound) => seconds <= bound);
      if (place >= 0) buckets[place]!++;
    },
    sessions: (count: number) => void (sums.sessions += count),
    /** Counts bytes of sessions, as they leave: in downloads after compression, in exports before. */
    bytes: (kind: "download" | "export", count: number) => void (bytes[kind] += count),
    download: (change: "begun" | Outcome): void => {
      if (change === "begun") return void sums.open++;
      sums.open--;
      outcomes[change]++;
    },
    downloads: () => sums.open,
    /** Gives everything as Prometheus text, with these gauges and counters beside. */
    render: (others: ReadonlyArray<Family>): string => {
      let sum = 0;
      const own: ReadonlyArray<Family> = [
        family(
          "counter",
          "monocloud_tenant_requests_total",
          "Requests to the tenant by status, retries included.",
          [...requests].sort().map(([status, count]) => [label("status", status), count]),
        ),
        family(
          "histogram",
          "monocloud_tenant_request_seconds",
          "Seconds until the tenant began its answer.",
          [
            ...BOUNDS.map((bound, i) =>
              [`_bucket${label("le", String(bound))}`, sum += buckets[i]!] as const
            ),
            [`_bucket${label("le", "+Inf")}`, sums.answers],
            ["_sum", sums.seconds],
            ["_count", sums.answers],
          ],
        ),
        family(
          "counter",
          "monocloud_sessions_total",
          "Sessions in downloads and exports.",
          sums.sessions,
        ),
        family(
          "counter",
          "monocloud_bytes_total",
          "Bytes of sessions: in downloads as sent, in exports as encoded.",
          Object.entries(bytes).map(([kind, count]) => [label("kind", kind), count]),
        ),
        family("gauge", "monocloud_downloads", "Downloads under way.", sums.open),
        family(
          "counter",
          "monocloud_downloads_total",
          "Downloads that have ended, by outcome.",
          Object.entries(outcomes).map(([outcome, count]) => [label("outcome", outcome), count]),
        ),
      ];
      return [...own, ...others].map(lines).join("");
    },
  };
};

/** Counts that begin at nothing. */
export const layer: Layer.Layer<Metrics> = Layer.sync(Metrics, make);

const statusOf = (exit: Exit.Exit<unknown, unknown>, answered: number | undefined): string =>
  answered !== undefined ? String(answered) : Exit.isInterrupted(exit) ? "interrupted" : "error";

/**
 * Requests counted by their status, and traced by it alone: their URLs, and the words of what went wrong, name people. One
 * that got a status and no whole body counts as answered.
 */
export const counted: Layer.Layer<Transport, never, Transport | Metrics> = Layer.effect(
  Transport,
  Effect.gen(function* () {
    const metrics = yield* Metrics;
    const transport = yield* Transport;
    return {
      get: (url, headers, receiver) =>
        Effect.gen(function* () {
          const began = yield* Clock.currentTimeMillis;
          let answered: number | undefined;
          const body = transport.get(url, headers, {
            ...receiver,
            onHead: (status, found) => {
              answered = status;
              receiver.onHead(status, found);
            },
          });
          const note = (exit: Exit.Exit<unknown, unknown>) =>
            Effect.flatMap(Clock.currentTimeMillis, (now) => {
              const status = statusOf(exit, answered);
              metrics.answered(status, (now - began) / 1000);
              return Effect.annotateCurrentSpan("status", status);
            });
          // A span that fails is sent with the words of its error: this one ends well, and gives the exit back.
          return yield* Effect.exit(Effect.onExit(body, note));
        }).pipe(Effect.withSpan("tenant request", { kind: "client" }), Effect.flatten),
    };
  }),
);

/** Counts an export as it goes on. */
export type Meter = ReturnType<typeof meter>;

/** Counts the batches of an export, and its bytes by its progress. */
export const meter = (metrics: typeof Metrics.Service, progress: Export.Progress) => {
  let bytes: number | undefined;
  const look = () => {
    // A run that is gone on with begins with what it had: that is no news.
    if (bytes !== undefined) metrics.bytes("export", progress.encodedBytes - bytes);
    bytes = progress.encodedBytes;
  };
  return {
    /** Counts a batch that is about to be written. */
    batch: (batch: Batch.Batch): Batch.Batch => {
      look();
      metrics.sessions(Batch.size(batch));
      return batch;
    },
    /** Counts what was written last. */
    end: look,
  };
};
