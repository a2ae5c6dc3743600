/** Changes since an earlier call. */
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import * as Export from "../export/Export.ts";
import * as Verdict from "../export/Verdict.ts";
import * as Options from "../options/Options.ts";
import * as Batch from "../session/Batch.ts";
import * as SessionSource from "../source/SessionSource.ts";
import * as Cursor from "./Cursor.ts";
import * as Engine from "./Engine.ts";
import * as Kinds from "./Kinds.ts";
import type { QuarantinedRow, Session, WalkEnd } from "../plain/Session.ts";
import type { Duration, SessionsOptions, UnverifiedOptions } from "../plain/SessionsOptions.ts";
import * as Transform from "./Transform.ts";

/**
 * A place for cursors, one a user: texts of JSON. A `Map` is one, and so is a table with a column of text. A cursor takes
 * some 300 bytes, in the midst of a user's list 17 bytes for each session delivered as well: give each a place of
 * its own, rather than write all of them at each change.
 */
export interface CursorStore {
  /** Gives the user's cursor; undefined or null if there is none. Asked as the users are read. */
  readonly get: (userId: string) => string | undefined | null | Promise<string | undefined | null>;
  /**
   * Keeps the user's cursor, in place of the one before. Waited for. Left out, the caller keeps `cursor` of each change by
   * itself: along with the sessions, in one transaction.
   */
  readonly set?: ((userId: string, cursor: string) => unknown) | undefined;
}

/**
 * Whose changes to read, and where the cursors are. A `filter` also hides a session that no longer passes it, and cursors do
 * not record it: to notice either, filter in your own loop.
 */
export interface ChangesOptions extends Omit<SessionsOptions, "sort" | "since">, UnverifiedOptions {
  /**
   * The cursors of the last call, and the place for those of this one: a store such as a `Map`, or the path of a file of
   * lines that only this function reads and writes. A file is for one process at a time.
   */
  readonly cursors: CursorStore | string;
  /**
   * The time below a cursor that is read once more for changes that showed late. What was delivered is not repeated.
   *
   * @default {"5 minutes"}
   */
  readonly lookback?: Duration | undefined;
  /** Gives rows that fail the schema in {@link Change.quarantined}, or fails on the first one. @default {"fail"} */
  readonly onInvalid?: "quarantine" | "fail" | undefined;
}

/** Some of a user's changes: what one answer of the tenant brought. */
export interface Change {
  readonly userId: string;
  /** New sessions, and those that changed, newest change first. Empty for a user without a change. */
  readonly sessions: ReadonlyArray<Session>;
  /** Rows that failed the schema; always empty with `onInvalid: "fail"`. */
  readonly quarantined: ReadonlyArray<QuarantinedRow>;
  /** Set on the last one of a user. */
  readonly end?: WalkEnd | undefined;
  /**
   * The user's cursor once all of this is stored. It includes the user's changes before. Undefined where the one before is
   * to stay: of a user whose walk failed, and of one that is not known and never was.
   */
  readonly cursor: string | undefined;
}

const { sort: _sort, since: _since, ...sessionsNames } = Kinds.sessionsNames;

const kind = Options.object<ChangesOptions>({
  ...sessionsNames,
  ...Verdict.optionNames,
  cursors: Options.textOr(
    Options.text,
    Options.kind<CursorStore>("a path, or a store with the functions 'get' and 'set'", (value) => {
      const { get, set } = Object(value) as Partial<CursorStore>;
      return typeof get === "function" && (set === undefined || typeof set === "function");
    }),
  ),
  lookback: Kinds.lookback,
  onInvalid: Export.quarantineNames.onInvalid,
}, { required: [...Kinds.required, "cursors"] });

const DOING = "read changes";

/**
 * Read what has changed since the last call with these cursors: new sessions, and those that were used since. Without a
 * cursor, a user's sessions are all new. Ended sessions are not told of: a dataset does that.
 *
 * **Coming back for the next change acknowledges the one before**: then, and never earlier, its cursor is set. So store what
 * a change brings inside the loop. A loop that ends anywhere (`break`, an exception, a killed process) loses nothing: the
 * next call begins with what was not acknowledged, and repeats nothing else. If you gather several changes before you store
 * them, or want sessions and cursor in one transaction, leave `set` out of the store. Then keep each `cursor` yourself. So
 * do if something between reads ahead, as Node's `Readable.from` does.
 *
 * A call after a loop that ended in the midst of a user's list reads the rest of that list. What changed meanwhile is left
 * to the call after it.
 *
 * A user without a change costs one request. Options are checked when the loop begins: a wrong one is a `TypeError` or a
 * `RangeError`. Throws a {@link CursorError}, an {@link ApiError}, an {@link ExportError}, a {@link TenantError}, or what
 * the store, `users`, `filter` or `map` throw. After the last change it throws an {@link ExportError} with the reason
 * `Unverified` if something may be missing, unless that is allowed.
 *
 * Memory: a few pages; of a file, all cursors.
 *
 * @example
 * ```ts
 * import { changes } from "monocloud-sessions/promise";
 * import { make } from "monocloud-sessions/sandbox";
 *
 * const sandbox = make({ users: 2, sessionsPerUser: 5 });
 * const [userId = ""] = sandbox.userIds();
 * const cursors = new Map<string, string>(); // or "cursors.ndjson", or a table of yours
 * const table = new Map<string, number>();
 * const sync = async () => {
 *   let count = 0;
 *   for await (
 *     const { sessions } of changes({
 *       domain: "sandbox.example",
 *       apiKey: sandbox.key,
 *       users: "all",
 *       cursors,
 *       fetch: (input, init) => sandbox.fetch(new Request(input, init)),
 *     })
 *   ) {
 *     for (const { session_id, last_updated } of sessions) table.set(session_id, last_updated); // by key: at least once
 *     count += sessions.length;
 *   }
 *   return count;
 * };
 * console.assert(await sync() === 10);
 * sandbox.add(userId);
 * console.assert(await sync() === 1 && table.size === 11);
 * ```
 */
export async function* changes(given: ChangesOptions): AsyncGenerator<Change> {
  const options = Kinds.take(DOING, kind, given);
  const { cursors, signal, lookback, onInvalid = "fail" } = options;
  const transform = Transform.of(DOING, options);
  const verdict = Verdict.make(options);
  signal?.throwIfAborted();
  // Loaded here, so that the rest of this module runs where there are no files.
  const file = typeof cursors === "string"
    ? await (await import("./CursorFile.ts")).open(cursors)
    : undefined;
  const store: CursorStore = file ?? cursors as CursorStore;
  /** Cursors of the users whose lists are being read. */
  const known = new Map<string, string | undefined | null>();
  const starts = Stream.mapEffect(
    Engine.usersOf(DOING, options, { unverifiedReasons: verdict.seeUsers }),
    (userId) =>
      Effect.tryPromise({
        try: async () => {
          const cursor = await store.get(userId);
          known.set(userId, cursor);
          return Cursor.startOf(userId, cursor, options);
        },
        catch: (error) => error,
      }),
  );
  const source = SessionSource.changes(starts, {
    ...Engine.walkOf(options),
    ...(lookback !== undefined && { lookback: Kinds.secondsOf(lookback) }),
  });
  try {
    for await (const served of Engine.iterate(Engine.until(source, signal), options)) {
      const batch = transform(served);
      const { userId, quarantined, end } = batch;
      const sessions = Batch.sessions(batch);
      if (onInvalid === "fail" && quarantined[0] !== undefined) throw Export.invalidRow(quarantined[0]);
      if (sessions.length === 0 && quarantined.length === 0 && end === undefined) continue;
      let cursor: { readonly text: string | undefined } | undefined;
      const change: Change = {
        userId,
        sessions,
        quarantined,
        end: end && endOf(end),
        get cursor() {
          return (cursor ??= { text: Cursor.after(served, options) }).text;
        },
      };
      yield change;
      if (store.set !== undefined) {
        const text = change.cursor;
        if (text !== undefined && text !== known.get(userId)) await store.set(userId, text);
        known.set(userId, text);
      }
      if (end !== undefined) known.delete(userId);
      verdict.see(served);
    }
  } finally {
    await file?.close();
  }
  const error = verdict.error();
  if (error !== undefined) throw error;
}

/** Gives the end without what the cursor says. */
const endOf = ({ status, verified, unverifiedReasons, message }: WalkEnd): WalkEnd => ({
  status,
  verified,
  unverifiedReasons,
  message,
});
