/**
 * The store of cursors, which tell what has changed since the last run, for those who keep sessions in a place of their own. A
 * dataset keeps its own.
 *
 * @module
 */
import * as Context from "effect/Context";
import * as Data from "effect/Data";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";
import type { Start } from "../SessionSource.ts";

/** A cursor could not be read or kept. */
export class CursorStoreError extends Data.TaggedError("CursorStoreError")<{
  readonly message: string;
  readonly cause?: unknown;
}> {}

/**
 * Keeps a cursor for each user: a plain value that JSON can hold. Save the cursor of every end that has one, of a user that is
 * missing or could not be verified as well: it claims no more than was delivered. Save a user's cursor along with its
 * sessions, in one transaction if the place has such, or else after them: then a crash in between delivers some sessions a
 * second time, and loses none.
 */
export class CursorStore extends Context.Tag("monocloud-sessions/CursorStore")<CursorStore, {
  /** The user's cursor; undefined if there is none. */
  readonly load: (userId: string) => Effect.Effect<unknown, CursorStoreError>;
  readonly save: (userId: string, cursor: unknown) => Effect.Effect<void, CursorStoreError>;
}>() {}

/** Keeps cursors as long as the layer lives: for tests, and for a service that may begin anew. */
export const memory: Layer.Layer<CursorStore> = Layer.sync(CursorStore, () => {
  const cursors = new Map<string, unknown>();
  return {
    load: (userId) => Effect.sync(() => cursors.get(userId)),
    save: (userId, cursor) => Effect.sync(() => void cursors.set(userId, cursor)),
  };
});

/**
 * Gives these users, each with its cursor, for `SessionSource.changes`.
 *
 * @example
 * ```ts
 * import { Batch, CursorStore, SessionSource, TenantClient, Transport } from "monocloud-sessions";
 * import * as Sandbox from "monocloud-sessions/sandbox";
 * import * as Effect from "effect/Effect";
 * import * as Layer from "effect/Layer";
 * import * as Stream from "effect/Stream";
 *
 * const sandbox = Sandbox.make({ users: 2, sessionsPerUser: 5 });
 * const tenant = TenantClient.layer({ domain: "sandbox.example", apiKey: sandbox.key, rate: 1000 }).pipe(
 *   Layer.provide(Transport.fetch((input, init) => sandbox.fetch(new Request(input, init)))),
 * );
 * const counted = Effect.gen(function* () {
 *   const store = yield* CursorStore.CursorStore;
 *   let count = 0;
 *   yield* SessionSource.changes(CursorStore.marked(Stream.fromIterable(sandbox.userIds()))).pipe(
 *     Stream.runForEach((batch) => {
 *       const { userId, end } = batch;
 *       // Your own place for sessions goes here, and then the cursor. Tell people of an end that is not verified.
 *       if (end?.verified === false) console.warn(`${userId}: ${end.unverifiedReasons.join("; ")}`);
 *       count += Batch.size(batch);
 *       return end?.cursor === undefined ? Effect.void : store.save(userId, end.cursor);
 *     }),
 *   );
 *   return count;
 * });
 * const twice = Effect.all([counted, counted]).pipe(Effect.provide([tenant, CursorStore.memory]));
 * const [first, second] = await Effect.runPromise(twice);
 * console.assert(first === 10 && second === 0);
 * ```
 */
export const marked = <E, R>(
  users: Stream.Stream<string, E, R>,
): Stream.Stream<Start, E | CursorStoreError, R | CursorStore> =>
  Stream.mapEffect(
    users,
    (userId) =>
      Effect.flatMap(
        CursorStore,
        (store) => Effect.map(store.load(userId), (cursor) => ({ userId, cursor })),
      ),
  );
