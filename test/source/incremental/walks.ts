/** Walks for changes of the only user of a sandbox, with what each leaves stored as JSON. */
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import type { Sandbox } from "../../../src/sandbox/mod.ts";
import * as Batch from "../../../src/session/Batch.ts";
import * as SessionSource from "../../../src/source/SessionSource.ts";
import { clientFor } from "../paging/histories.ts";

/** The id and the time of a session, as one text. */
export const keyOf = (session: { readonly session_id: string; readonly last_updated: number }): string =>
  `${session.session_id} ${session.last_updated}`;

/** Walks the user to the end. */
export const walk = async (
  sandbox: Sandbox,
  from: { readonly cursor?: unknown; readonly state?: unknown } = {},
  options: SessionSource.ChangesOptions = {},
) => {
  const [userId = ""] = sandbox.userIds();
  const batches = [
    ...await SessionSource.changes(Stream.make({ userId, ...from }), { pageSize: 100, ...options }).pipe(
      Stream.runCollect,
      Effect.provide(clientFor(sandbox)),
      Effect.runPromise,
    ),
  ];
  const sessions = batches.flatMap(Batch.sessions);
  const end = batches.at(-1)?.end;
  const cursor = end?.cursor === undefined ? undefined : JSON.parse(JSON.stringify(end.cursor));
  return { batches, sessions, keys: sessions.map(keyOf), end, cursor };
};

/** Walks the user up to a batch, and gives what the walk was put down with, as JSON. */
export const putDown = async (
  sandbox: Sandbox,
  count: number,
  options: SessionSource.ChangesOptions = {},
) => {
  const [userId = ""] = sandbox.userIds();
  const keys: Array<string> = [];
  let state = "";
  await SessionSource.changes(Stream.make(userId), { concurrency: 1, pageSize: 100, ...options }).pipe(
    Stream.take(count),
    Stream.runForEach((batch) =>
      Effect.sync(() => {
        keys.push(...Batch.sessions(batch).map(keyOf));
        state = JSON.stringify(batch.state?.());
      })
    ),
    Effect.provide(clientFor(sandbox)),
    Effect.runPromise,
  );
  return { keys, state };
};
