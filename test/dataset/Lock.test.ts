/** Who may write into a folder, of processes of Node and of Deno: the latter with no more permissions than they need. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { describe, expect, it } from "vitest";
import { begin, beginDeno, keysOf, type Running, tenant, until } from "../cli/command.ts";
import { keysInEach } from "../duckdb.ts";
import { newFolder } from "../folders.ts";

const slow = { users: 150, sessionsPerUser: 20, faults: { latencyMs: 100 } };

/** What starts exports into a folder, and goes on with them. */
const exportsInto = async (data: string) => {
  const { sandbox, env } = await tenant(slow);
  const args = [
    ...["export", "--all-users", "--rate", "5000/s", "--out", data, "--format", "ndjson,csv,parquet"],
    ...["--part-rows", "200", "--resume"],
  ];
  const permissions = [
    "--allow-env=MONOCLOUD_DOMAIN,MONOCLOUD_API_KEY",
    "--allow-net=127.0.0.1",
    `--allow-read=${data}`,
    `--allow-write=${data}`,
  ];
  const node = () => begin(args, { env });
  const deno = () => beginDeno(permissions, args, { env });
  return { sandbox, by: { Node: node, Deno: deno } };
};

const hasPart = async (data: string) => {
  const names = await readdir(join(data, "ndjson")).catch(() => []);
  return names.some((name) => name.endsWith(".ndjson"));
};

const expectRefused = async (running: Running) => {
  const { code, err } = await running.done;
  expect(err).toMatch(
    /^Error: Cannot write to \S+: process \d+( on \S+)?, since 20\S+ is writing there, and /,
  );
  expect(code).toBe(73);
};

describe("a folder", () => {
  it.each(["Node", "Deno"] as const)(
    "that a process of %s writes to is refused to any other",
    async (name) => {
      const data = join(await newFolder(), "data");
      const { sandbox, by } = await exportsInto(data);
      const first = by[name]();
      await until(() => hasPart(data), "a part is there");
      await Promise.all([by.Node(), by.Deno()].map(expectRefused));
      expect((await first.done).code).toBe(0);
      for (const keys of await keysInEach(data)) expect(keys).toEqual(keysOf(sandbox));
    },
  );

  it("of a process of Deno that was killed goes at once to one other of Deno, and to one alone", async (context) => {
    if (process.platform === "win32") return context.skip("there, two minutes of silence have to tell");
    for (let round = 0; round < 3; round++) {
      const data = join(await newFolder(), "data");
      const { sandbox, by } = await exportsInto(data);
      const killed = by.Deno();
      await until(() => hasPart(data), "a part is there");
      killed.kill("SIGKILL");
      expect((await killed.done).signal).toBe("SIGKILL");
      const codes = [by.Deno(), by.Deno(), by.Deno()].map(({ done }) => done.then(({ code }) => code));
      expect((await Promise.all(codes)).sort()).toEqual([0, 73, 73]);
      for (const keys of await keysInEach(data)) expect(keys).toEqual(keysOf(sandbox));
    }
  });
});
