/** Errors of the queue's server. */
import * as Data from "effect/Data";

/** A queue's server can't be used: a package is missing, it can't be reached, or it refuses. */
export class QueueError extends Data.TaggedError("QueueError")<{
  readonly reason: "Missing" | "Failed";
  /** Name of the server, without a password. */
  readonly server: string;
  readonly message: string;
  readonly cause?: unknown;
}> {}

/** Message of the client of PostgreSQL where there is no password at all. */
const NO_PASSWORD = /client password must be/;

/** Tell what failed at a server. */
export const of = (server: string, cause: unknown): QueueError => {
  if (cause instanceof QueueError) return cause;
  const { message, code } = (cause ?? {}) as { readonly message?: string; readonly code?: unknown };
  const said = message || code || cause;
  const says = NO_PASSWORD.test(String(said)) ? "it asks for a password" : said;
  return new QueueError({
    reason: "Failed",
    server,
    message: `Cannot use the queue at ${server}: ${says}`,
    cause,
  });
};

/** Tell that a package is not installed which a server takes. */
export const missing = (server: string, which: string, client: string, cause: unknown): QueueError =>
  new QueueError({
    reason: "Missing",
    server,
    message:
      `Cannot use the queue at ${server} as the package ${which} is not installed: npm install bullmq ${client}`,
    cause,
  });
