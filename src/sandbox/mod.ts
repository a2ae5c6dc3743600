/**
 * A tenant of generated users and sessions, to try, test and measure an export without an account: in this process through
 * its `fetch`, or on a port. Needs no Effect.
 *
 * @example
 * ```ts
 * import { make, parseFaults, serve } from "monocloud-sessions/sandbox";
 *
 * const faults = parseFaults("503=5%,cut=1%");
 * const sandbox = make({ users: 1_000, sessionsPerUser: { mean: 20 }, faults });
 * const server = await serve(sandbox);
 * console.log(`${server.url}, X-API-KEY: ${sandbox.key}`);
 * await server.close();
 * ```
 *
 * @module
 */
export type { AnswerOptions, SessionsRequest } from "./http/Responses.ts";
export type { ChurnOptions } from "./faults/Churn.ts";
export type { Answer } from "./http/Endpoint.ts";
export type { FaultName, FaultOptions } from "./faults/Faults.ts";
export { parseFaults } from "./faults/FaultText.ts";
export type { SandboxMetadata } from "./data/Metadata.ts";
export type { PaginationHeader } from "./data/Pages.ts";
export type { SandboxUser } from "./data/People.ts";
export type { PopulationOptions, SandboxSession } from "./data/Population.ts";
export { type Counts, make, type PlainRequest, type Sandbox, type SandboxOptions } from "./Sandbox.ts";
export { serve, type Served, type ServeOptions } from "./Server.ts";
export type { RateLimiterOptions } from "./faults/TokenBucket.ts";
