/** The variables of the environment that a server reads. */
import { mapLimits } from "./Limits.ts";

/** The variable of each setting. */
export const variables = {
  domain: "MONOCLOUD_DOMAIN",
  apiKey: "MONOCLOUD_API_KEY",
  rate: "MONOCLOUD_RATE",
  redactSecret: "MONOCLOUD_REDACT_SECRET",
  queueUrl: "MONOCLOUD_QUEUE",
  token: "WORKER_TOKEN",
  folder: "WORKER_FOLDER",
  ...mapLimits(({ variable }) => variable),
  log: "WORKER_LOG",
  telemetry: "OTEL_EXPORTER_OTLP_ENDPOINT",
} as const;

/** The names of all variables, as a runtime that asks for permission wants them. */
export const names: ReadonlyArray<string> = [
  ...Object.values(variables),
  // Read by what makes the traces.
  "OTEL_RESOURCE_ATTRIBUTES",
  "OTEL_SERVICE_NAME",
  "OTEL_SERVICE_VERSION",
];
