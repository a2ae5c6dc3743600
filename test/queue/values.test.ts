import { randomUUID } from "node:crypto";
import process from "node:process";
import * as fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import * as QueueServer from "../../src/queue/QueueServer.ts";
import type { Values } from "../../src/queue/Values.ts";
import { isLong, some } from "../size.ts";
import type { Told } from "./counting.ts";
import { program } from "../program.ts";
import { onEachServer } from "./servers.ts";

const open = async (url: string): Promise<Values> => {
  const values = await QueueServer.open(QueueServer.parse(url));
  onTestFinished(() => values.close());
  return values;
};

const aKey = fc.constantFrom("", "a", "a:1", "a:10", "a:2", "b", "a%", "a_", "job:é");
const aValue = fc.string({ unit: "grapheme", maxLength: 40 }).map((text) => text.replaceAll("\0", ""));
const aStep = fc.oneof(
  fc.record({ kind: fc.constant("set" as const), key: aKey, value: aValue }),
  fc.record({ kind: fc.constant("replace" as const), key: aKey, value: aValue, isStale: fc.boolean() }),
  fc.record({ kind: fc.constant("remove" as const), key: aKey }),
  fc.record({ kind: fc.constant("list" as const), key: aKey }),
);

onEachServer((server, kind) => {
  it("keeps what it is given, whatever that is", async () => {
    const values = await open(await server.url());
    await fc.assert(
      fc.asyncProperty(fc.array(aStep, { maxLength: 30 }), async (steps) => {
        const world = randomUUID();
        const model = new Map<string, string>();
        const stale = new Map<string, Array<number>>();
        for (const step of steps) {
          const key = `${world}/${step.key}`;
          const { value, version } = await values.read(key);
          expect(value).toBe(model.get(key));
          if (step.kind === "set") {
            await values.set(key, step.value);
            model.set(key, step.value);
          } else if (step.kind === "remove") {
            await values.remove(key);
            model.delete(key);
          } else if (step.kind === "replace") {
            const old = (stale.get(key) ?? []).filter((before) => before !== version);
            for (const before of step.isStale ? old : []) {
              expect(await values.replace(key, before, "stale")).toBe(false);
            }
            stale.set(key, [...old, version]);
            expect(await values.replace(key, version, step.value)).toBe(true);
            model.set(key, step.value);
          } else {
            const listed = await values.list(key);
            expect(listed.map(({ key, value }) => [key, value])).toEqual(
              [...model].filter(([one]) => one.startsWith(key))
                .sort(([one], [other]) => Buffer.compare(Buffer.from(one), Buffer.from(other))),
            );
            for (const { age } of listed) expect(age).toBeLessThan(60_000);
          }
        }
      }),
      { seed: 31, numRuns: some(100) },
    );
  });

  it("tells its own time, and the age of what it keeps", async () => {
    const values = await open(await server.url());
    const from = Date.now();
    const { now } = await values.read("nothing");
    expect(now).toBeGreaterThan(from - 5);
    expect(now).toBeLessThan(Date.now() + 5);
    await values.set("something", "x");
    await new Promise((resume) => setTimeout(resume, 300));
    const [entry] = await values.list("some");
    expect(entry!.age).toBeGreaterThan(290);
    expect(entry!.age).toBeLessThan(5000);
  });

  it("loses no update of many processes that begin at once", async () => {
    const [processes, times] = isLong ? [16, 300] : [6, 40];
    const told: Told = { url: await server.url(), times };
    const run = await program(new URL("counting.ts", import.meta.url));
    const finished = await Promise.all(
      Array.from({ length: processes }, () => run([JSON.stringify(told)]).done),
    );
    for (const { code, err } of finished) expect({ code, err }).toEqual({ code: 0, err: "" });
    const values = await open(told.url);
    expect((await values.read("count")).value).toBe(`${processes * times}`);
    const conflicts = finished.reduce((sum, { out }) => sum + Number(out), 0);
    process.stdout.write(
      `${kind}: ${processes * times} updates by ${processes} processes, ${conflicts} conflicts, none lost\n`,
    );
  });

  it("makes its table once for many that begin at once", async () => {
    const url = await server.url();
    const all = await Promise.all(Array.from({ length: 20 }, () => open(url)));
    await Promise.all(all.map((values, n) => values.set(`key ${n}`, "x")));
    expect(await all[0]!.list("key ")).toHaveLength(20);
  });

  it("outlasts a restart of its server: calls fail, or wait for it, and the next ones go well", async () => {
    const values = await open(await server.url());
    await values.set("kept", "x");
    await server.kill();
    const from = Date.now();
    await expect(values.read("kept")).rejects.toThrow(/^Cannot use the queue at /);
    expect(Date.now() - from).toBeLessThan(11_000);
    await server.start();
    await expect.poll(() => values.read("kept").catch(() => undefined), { timeout: 20_000 })
      .toMatchObject({ value: "x" });
    expect(await values.replace("kept", (await values.read("kept")).version, "y")).toBe(true);
  });
});

describe("open()", () => {
  it.each(["postgres://someone:hidden@127.0.0.1:1/none", "redis://:hidden@127.0.0.1:1"])(
    "fails with the server's name and without its password (%#)",
    async (url) => {
      const error = await QueueServer.open(QueueServer.parse(url)).catch((error: Error) => error);
      expect(String(error)).toMatch(/Cannot use the queue at (postgres|redis):\/\/.*127\.0\.0\.1:1/);
      expect(String(error)).not.toContain("hidden");
    },
  );
});
