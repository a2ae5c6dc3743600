/**
 * A table that is kept equal to a tenant by a real process, hour after hour, while one side or the other is killed: ours by
 * SIGKILL, PostgreSQL by an immediate shutdown, more often than not within a transaction.
 */
import { join } from "node:path";
import process from "node:process";
import { describe, expect, it, onTestFinished } from "vitest";
import type { Target } from "../../src/warehouse/Target.ts";
import * as DuckDb from "../../src/warehouse/targets/duckdb.ts";
import * as Postgres from "../../src/warehouse/targets/postgres.ts";
import { begin, type CommandOptions, run } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { isLong } from "../size.ts";
import { type Message, startProxy } from "./cuttingProxy.ts";
import { allVersions, postgresForFile } from "./postgres.ts";
import { changing } from "./rounds.ts";
import { serving } from "./tenants.ts";

const ROUNDS = isLong ? 100 : 4;
const PRUNE_EVERY = isLong ? 24 : 3;

interface Kill {
  readonly side: "ours" | "the server";
  readonly where: "inside" | "outside";
  /** A number from 0 to 1: how far within the run. */
  readonly when: number;
}

/** A target, and how runs into it are killed. */
interface Subject {
  readonly target: Target;
  readonly sides: ReadonlyArray<Kill["side"]>;
  /** Runs the command to its end. */
  readonly run: (args: ReadonlyArray<string>, options: CommandOptions) => Promise<void>;
  /** Runs it likewise, killed on the way; gives what of, or undefined if it had ended before. */
  readonly kill: (
    kill: Kill,
    args: ReadonlyArray<string>,
    options: CommandOptions,
  ) => Promise<string | undefined>;
}

/** Go through the rounds, a third of them with a kill. */
const goThrough = async ({ target, sides, ...subject }: Subject, name: string) => {
  const { draw, tenant, passHour, expectTable } = changing(7, { faults: {} });
  const { env } = await serving(tenant);
  const kills: Array<Kill> = [];
  const sites = new Map<string, number>();
  let due = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const prune = round > 0 && round % PRUNE_EVERY === 0;
    const args = [
      ...["sync", "--all-users", "--rate", "10000/s", "--page-size", "10", "--schema", "kills"],
      ...[
        "--checkpoint-rows",
        `${1 + Math.floor(draw() * 200)}`,
        "--concurrency",
        `${1 + Math.floor(draw() * 6)}`,
      ],
      ...prune ? ["--prune"] : [],
    ];
    if (round % 3 === 1) due++;
    // Prunes too are to be killed.
    if (due > 0 || (prune && draw() < 0.5)) {
      const kill: Kill = {
        side: sides[kills.length % sides.length]!,
        where: Math.floor(kills.length / sides.length) % 3 < 2 ? "inside" : "outside",
        when: draw(),
      };
      const site = await subject.kill(kill, args, { env });
      if (site !== undefined) {
        kills.push(kill);
        sites.set(site, (sites.get(site) ?? 0) + 1);
        due--;
      }
    }
    await subject.run(args, { env });
    await expectTable(target, prune);
    passHour(Math.floor(draw() * 30));
  }
  const inside = kills.filter(({ where }) => where === "inside").length;
  expect(kills.length).toBeGreaterThanOrEqual(Math.floor(ROUNDS / 3));
  expect(inside).toBeGreaterThanOrEqual(kills.length / 2);
  process.stdout.write(
    `${name}: ${ROUNDS} rounds, ${kills.length} kills (${
      sides.map((side) => `${kills.filter((kill) => kill.side === side).length} of ${side}`).join(", ")
    }), ${inside} within transactions\n`,
  );
  if (isLong) console.table(Object.fromEntries(sites));
};

const done = { code: 0, signal: null };

const postgresVersions = isLong ? allVersions : allVersions.slice(0, 1);

describe.each(postgresVersions)("$name", (version) => {
  describe.skipIf(!version.isThere)("as a target", () => {
    const postgres = postgresForFile({ version });

    it("equals the tenant, whatever was killed", async () => {
      const database = await postgres().createDatabase();
      const proxy = await startProxy(postgres().port);
      onTestFinished(() => proxy.close());
      const to = (options: CommandOptions, url: string): CommandOptions => ({
        env: { ...options.env, PGPASSWORD: database.password, MONOCLOUD_TO: url },
      });
      const through = proxy.through(database.url);
      /** Messages of the last run that ended by itself, within transactions and not. */
      let counts = { inside: 100, outside: 100 };
      const watching = (isIt: (inside: boolean) => boolean) => {
        let isInside = false;
        return ({ from, type }: Message, bytes: Buffer) => {
          // What follows a commit that is on its way may be done.
          if (from === "client" && type === "Q" && /COMMIT|ROLLBACK/.test(bytes.toString("latin1"))) {
            const wasInside = isInside;
            isInside = false;
            return isIt(wasInside);
          }
          if (from === "server" && type === "Z") isInside = bytes[5] === 0x54;
          return isIt(isInside);
        };
      };
      await goThrough({
        target: Postgres.make({ ...database, schema: "kills" }),
        sides: ["ours", "the server"],
        run: async (args, options) => {
          const seen = { inside: 0, outside: 0 };
          proxy.arm({
            how: "cut",
            at: watching((inside) => {
              seen[inside ? "inside" : "outside"]++;
              return false;
            }),
          });
          expect(await run(args, to(options, through))).toMatchObject(done);
          counts = seen;
        },
        kill: async ({ side, where, when }, args, options) => {
          const at = 1 + Math.floor(when * counts[where]);
          let met = 0;
          const struck = proxy.arm({
            how: "hold",
            at: watching((inside) => (where === "inside") === inside && ++met === at),
          });
          const running = begin([...args, "--max-elapsed", "1m"], to(options, through));
          const what = await Promise.race([struck, running.done]);
          if ("code" in what) {
            expect(what).toMatchObject(done);
            return undefined;
          }
          const { message, status } = what;
          if (side === "ours") {
            running.kill("SIGKILL");
            expect(await running.done).toMatchObject({ signal: "SIGKILL" });
            proxy.release();
          } else {
            await postgres().kill();
            proxy.release();
            await postgres().start();
            // It outlasts that.
            expect(await running.done).toMatchObject(done);
          }
          if (where === "inside") expect(status).toBe("T");
          return `${side}, ${where}: ${message.from} ${message.type}`;
        },
      }, version.name);
    }, 3_600_000);
  });
});

it("a DuckDB file equals the tenant, whatever was killed", async () => {
  const path = join(await newFolder(), "kills.duckdb");
  const preload = new URL("killInDuckDb.mjs", import.meta.url);
  const to = ({ env }: CommandOptions, more: Readonly<Record<string, string>> = {}): CommandOptions => ({
    preload,
    env: { ...env, MONOCLOUD_TO: path, ...more },
  });
  let counts = { inside: 100, outside: 20 };
  await goThrough({
    target: DuckDb.make({ path, schema: "kills" }),
    sides: ["ours"],
    run: async (args, options) => {
      const finished = await run(args, to(options));
      expect(finished).toMatchObject(done);
      const [, inside, outside] = /(\d+) calls inside, (\d+) outside/.exec(finished.err)!;
      counts = { inside: Number(inside), outside: Number(outside) };
    },
    kill: async ({ where, when }, args, options) => {
      const finished = await run(
        args,
        to(options, {
          KILL_AT: `${1 + Math.floor(when * counts[where])}`,
          KILL_WHERE: where,
          KILL_HOW: when * 1000 % 2 < 1 ? "before" : "during",
        }),
      );
      if (finished.signal === null) {
        expect(finished).toMatchObject(done);
        return undefined;
      }
      expect(finished.signal).toBe("SIGKILL");
      return /Killed (.*) a transaction/.exec(finished.err)![1];
    },
  }, "DuckDB");
}, 3_600_000);
