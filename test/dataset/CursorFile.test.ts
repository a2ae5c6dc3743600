import * as Batch from "../../src/session/Batch.ts";
import { appendFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";
import { expect, it } from "vitest";
import * as CursorFile from "../../src/dataset/CursorFile.ts";
import { make, type Sandbox } from "../../src/sandbox/mod.ts";
import * as SessionSource from "../../src/source/SessionSource.ts";
import {
  CursorStore,
  type CursorStoreError,
  marked,
  memory,
} from "../../src/source/incremental/CursorStore.ts";
import { newFolder } from "../folders.ts";
import { clientFor } from "../source/paging/histories.ts";

/** A loader of its own: takes the sessions in, and keeps the cursor after them. */
const load = (sandbox: Sandbox, into: Array<string>) =>
  SessionSource.changes(marked(Stream.fromIterable(sandbox.userIds()))).pipe(
    Stream.runForEach((batch) => {
      const { userId, end } = batch;
      into.push(
        ...Batch.sessions(batch).map(({ session_id, last_updated }) => `${session_id} ${last_updated}`),
      );
      return end?.cursor === undefined
        ? Effect.void
        : Effect.flatMap(CursorStore, (store) => store.save(userId, end.cursor));
    }),
    Effect.provide(clientFor(sandbox)),
  );

const cases: ReadonlyArray<[string, () => Promise<Layer.Layer<CursorStore, CursorStoreError>>]> = [
  [
    "a file, opened for each run",
    async () => Layer.fresh(CursorFile.layer(join(await newFolder(), "cursors.ndjson"))),
  ],
  [
    "memory",
    () =>
      Effect.runPromise(
        Effect.map(Effect.scoped(Layer.build(memory)), (context) => Layer.succeedContext(context)),
      ),
  ],
];

it.each(cases)("a loader of one's own gets every change once, with cursors in %s", async (_, layerOf) => {
  const layer = await layerOf();
  const sandbox = make({ users: 5, sessionsPerUser: 20 });
  const loaded: Array<string> = [];
  const run = () => Effect.runPromise(Effect.provide(load(sandbox, loaded), layer));
  await run();
  expect(loaded).toHaveLength(100);
  for (const userId of sandbox.userIds()) {
    sandbox.add(userId);
    const [first] = sandbox.sessions(userId);
    sandbox.update(userId, first!.session_id);
  }
  await run();
  await run();
  expect(loaded).toHaveLength(110);
  expect(new Set(loaded).size).toBe(110);
  for (const userId of sandbox.userIds()) {
    for (const { session_id, last_updated } of sandbox.sessions(userId)) {
      expect(loaded).toContain(`${session_id} ${last_updated}`);
    }
  }
});

const cursor = (at: number) => ({ at, seen: [["S", at, "d"]] });

const withFile = <A>(path: string, work: Effect.Effect<A, CursorStoreError, CursorStore>) =>
  Effect.runPromise(Effect.provide(work, CursorFile.layer(path)));

const load1 = (userId: string) => Effect.flatMap(CursorStore, (store) => store.load(userId));
const save = (userId: string, value: unknown) =>
  Effect.flatMap(CursorStore, (store) => store.save(userId, value));

it("keeps the latest cursor of each user, and not the half of one that was being written", async () => {
  const path = join(await newFolder(), "cursors.ndjson");
  await withFile(path, Effect.all([save("a", cursor(1)), save("b", cursor(2)), save("a", cursor(3))]));
  await appendFile(path, '{"user_id":"b","cursor":{"at":9');
  expect(await withFile(path, Effect.all([load1("a"), load1("b"), load1("c")]))).toEqual([
    cursor(3),
    cursor(2),
    undefined,
  ]);
  await withFile(path, save("b", cursor(4)));
  expect(await withFile(path, Effect.all([load1("a"), load1("b")]))).toEqual([cursor(3), cursor(4)]);
});

it("does not grow with the number of runs", async () => {
  const path = join(await newFolder(), "cursors.ndjson");
  await writeFile(
    path,
    Array.from({ length: 5000 }, (_, at) => `${JSON.stringify({ user_id: "a", cursor: cursor(at) })}\n`).join(
      "",
    ),
  );
  expect(await withFile(path, load1("a"))).toEqual(cursor(4999));
  expect((await readFile(path, "utf8")).split("\n")).toHaveLength(2);
});

it("says what is wrong with a file that is damaged, and with what is no cursor", async () => {
  const path = join(await newFolder(), "cursors.ndjson");
  await writeFile(path, `{"user_id":"a","cursor":{"at":1,"seen":[]}}\nnonsense\n`);
  await expect(withFile(path, load1("a"))).rejects.toThrow(
    `${path} is damaged: line 2 is no cursor. Restore it from a backup, or remove it to begin anew`,
  );
  const other = join(await newFolder(), "cursors.ndjson");
  await expect(withFile(other, save("a", "soon"))).rejects.toThrow("it is no cursor of a walk");
  await expect(withFile(join(other, "deeper", "cursors"), load1("a"))).rejects.toThrow(
    "Cannot keep cursors in ",
  );
});

it("a cursor that could not be written whole does not damage those that follow it", async () => {
  const path = join(await newFolder(), "cursors.ndjson");
  const { open } = await import("node:fs/promises");
  const handle = await open(path, "a");
  const prototype = Object.getPrototypeOf(handle);
  await handle.close();
  const { appendFile: append } = prototype;
  await withFile(
    path,
    Effect.gen(function* () {
      const store = yield* CursorStore;
      yield* store.save("a", cursor(1));
      prototype.appendFile = async function (line: Uint8Array) {
        await append.call(this, line.subarray(0, 9));
        throw Object.assign(new Error("no space left"), { code: "ENOSPC" });
      };
      const failed = yield* Effect.exit(store.save("b", cursor(2)));
      expect(String(failed)).toContain("no space left");
      prototype.appendFile = append;
      yield* store.save("c", cursor(3));
    }).pipe(Effect.ensuring(Effect.sync(() => void (prototype.appendFile = append)))),
  );
  expect((await readFile(path, "utf8")).split("\n").map((line) => line.slice(0, 14))).toEqual([
    '{"user_id":"a"',
    '{"user_id":"c"',
    "",
  ]);
});
