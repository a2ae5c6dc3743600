/** Sessions one by one. */
import * as Export from "../export/Export.ts";
import * as Verdict from "../export/Verdict.ts";
import * as Options from "../options/Options.ts";
import * as Batch from "../session/Batch.ts";
import * as Engine from "./Engine.ts";
import * as Kinds from "./Kinds.ts";
import type { QuarantinedRow, UserSession, WalkEnd } from "../plain/Session.ts";
import type { SessionsOptions, UnverifiedOptions } from "../plain/SessionsOptions.ts";

/** Listeners to sessions that are read one by one. */
export interface SessionCallbacks {
  /** A row that failed the schema. Left out, such a row is an error. */
  readonly onQuarantined?: ((row: QuarantinedRow) => void) | undefined;
  /** A user's list has been read. Left out, a user that the tenant does not know is an error. */
  readonly onEnd?: ((userId: string, end: WalkEnd) => void) | undefined;
}

const kind = Options.object<SessionsOptions & SessionCallbacks & UnverifiedOptions>({
  ...Kinds.sessionsNames,
  ...Verdict.optionNames,
  onQuarantined: Options.callback,
  onEnd: Options.callback,
}, { required: Kinds.required });

const DOING = "read sessions";

/**
 * Read sessions one by one, each with its `user_id`, newest first within a user. Breaking off the loop ends all requests.
 *
 * Options are read once, when the loop begins: a wrong one is a `TypeError` or a `RangeError` before any request. Throws an
 * {@link ApiError}, a {@link TenantError}, or what `users`, `filter` or `map` throw. Throws an {@link ExportError} for a row
 * that failed the schema, or a user that the tenant does not know, unless somebody is told. After the last session it throws
 * one with the reason `Unverified` if something may be missing, unless that is allowed.
 *
 * Memory: a few pages.
 *
 * @example
 * ```ts
 * import { sessions } from "monocloud-sessions/promise";
 * import { make } from "monocloud-sessions/sandbox";
 *
 * const sandbox = make({ users: 2 });
 * let count = 0;
 * for await (
 *   const session of sessions({
 *     domain: "sandbox.example",
 *     apiKey: sandbox.key,
 *     users: sandbox.userIds(),
 *     filter: ({ client_ids }) => client_ids.length > 0,
 *     redact: { policy: { ip: "truncate", user_agent: "drop" } },
 *     fetch: (input, init) => sandbox.fetch(new Request(input, init)),
 *   })
 * ) {
 *   if (session.user_id !== "") count++;
 * }
 * console.assert(count > 0);
 * ```
 */
export async function* sessions(
  given: SessionsOptions & SessionCallbacks & UnverifiedOptions,
): AsyncGenerator<UserSession> {
  const options = Kinds.take(DOING, kind, given);
  const { onQuarantined, onEnd, signal } = options;
  const verdict = Verdict.make(options);
  for await (
    const batch of Engine.iterate(
      Engine.batchesOf(DOING, options, { unverifiedReasons: verdict.seeUsers }),
      options,
    )
  ) {
    const { userId, quarantined, end } = batch;
    for (const row of quarantined) {
      if (onQuarantined === undefined) throw Export.invalidRow(row);
      onQuarantined(row);
    }
    for (const session of Batch.sessions(batch)) {
      signal?.throwIfAborted();
      yield { ...session, user_id: userId };
    }
    if (end === undefined) continue;
    const isGone = end.status === "missing" || end.status === "removed";
    // A user of all of them that goes meanwhile is none to speak of.
    if (onEnd === undefined && isGone && options.users !== "all") throw Export.noSuchUsers(1, userId);
    onEnd?.(userId, end);
    verdict.see(batch);
  }
  const error = verdict.error();
  if (error !== undefined) throw error;
}
