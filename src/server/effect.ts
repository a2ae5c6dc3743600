/**
 * The HTTP server in Effect, to put behind a server of one's own: its settings, its handler, and the description of its API,
 * of which `@effect/platform/HttpApiClient` makes a client.
 *
 * @module
 */
import "../needsEffect3.ts";

export * as Api from "./handlers/Api.ts";
export * as Job from "./jobs/Job.ts";
export * as Server from "./Server.ts";
export * as Settings from "./Settings.ts";
