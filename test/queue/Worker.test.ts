/** A worker over an engine and values in memory. */
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as Effect from "effect/Effect";
import { expect, it } from "vitest";
import type * as Engine from "../../src/queue/Engine.ts";
import * as Records from "../../src/queue/Records.ts";
import * as Worker from "../../src/queue/Worker.ts";
import { newFolder } from "../folders.ts";
import * as memory from "./memory.ts";

const gate = () => {
  let open = () => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { open: () => open(), opened };
};

it("joins no queue once it was told to stop", async () => {
  const tenants = await newFolder();
  const path = join(tenants, "acme.env");
  await writeFile(path, "MONOCLOUD_DOMAIN=acme.example\nMONOCLOUD_API_KEY=key\n");
  await chmod(path, 0o600);
  const [asked, answered] = [gate(), gate()];
  const shared = memory.make(() => Date.now());
  await Records.leave(shared, "run", Records.keyOf("run", "acme", "1-a"), {
    ...{ job: "1-a", tenant: "acme", target: "default", kind: "table", began: "" },
    ...{ shards: 1, done: 0, failed: 0 },
    progress: {
      ...{ users: 0, missing: 0, failed: 0, sessions: 0, quarantined: 0, unverified: 0 },
      ...{ encodedBytes: 0, listed: 0 },
    },
  });
  const values = {
    ...shared,
    list: async (prefix: string) => {
      asked.open();
      await answered.opened;
      return await shared.list(prefix);
    },
  };
  let joined = 0;
  const engine = {
    errors: {},
    worker: () => {
      joined++;
      throw new Error("it was joined");
    },
  } as unknown as Engine.Engine;
  const worker = Worker.start({
    ...{ work: () => Effect.never, places: { tenants, targets: tenants }, atOnce: 1, rate: 1, lease: 1000 },
    server: { name: "queue", engine, values },
    tell: () => Effect.void,
  });
  await Effect.runPromise(Effect.scoped(Effect.zipRight(worker, Effect.promise(() => asked.opened))));
  answered.open();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(joined).toBe(0);
});
