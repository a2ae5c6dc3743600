/**
 * The suite that a target must pass: what a warehouse rests on, tried against the real database. It names no test runner:
 * each check rejects with an error that says what was found.
 *
 * @module
 */
import * as Batch from "../session/Batch.ts";
import type { Session } from "../session/Session.ts";
import * as Store from "./Store.ts";
import * as TableRows from "./TableRows.ts";
import * as Tables from "./Tables.ts";
import { type Connection, type Found, isTargetError, type Target, type TargetErrorReason } from "./Target.ts";

/** One thing that a target must do. */
export interface Check {
  readonly name: string;
  /** Is given what makes a target of an empty schema: the same one, as often as it is called. */
  readonly run: (target: () => Target) => Promise<void>;
}

const identity: Store.Identity = { tenant: "https://contract.example", filters: {}, redaction: null };
const at = (second: number): string => new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString();

const session = (id: string, lastUpdated = 1000, more: Partial<Session> = {}): Session => ({
  session_id: id,
  client_ids: ["app"],
  initiated_at: 1000,
  expires_at: 2000,
  last_updated: lastUpdated,
  ...more,
});

const standing: Store.Standing = {
  users: 0,
  sessions: 0,
  requests: 0,
  retries: 0,
  seconds: 0,
  progress: { any: "thing" },
};

const equal = (found: unknown, expected: unknown, of: string): void => {
  const [one, other] = [JSON.stringify(found), JSON.stringify(expected)];
  if (one !== other) throw new Error(`${of}: found ${one}, and expected ${other}`);
};

const refused = async (reason: TargetErrorReason, work: Promise<unknown>, of: string): Promise<void> => {
  const error = await work.then(() => undefined, (error) => error);
  if (!isTargetError(error)) throw new Error(`${of}: no TargetError, but ${error}`);
  equal(error.reason, reason, `${of}: ${error.message}`);
};

const open = (target: Target, id: string = crypto.randomUUID()) =>
  Store.open(target, { id, leaseSeconds: 3600 });

interface Work {
  readonly store: Store.Store;
  readonly begun: Store.Begun;
  readonly add: (userId: string, sessions: ReadonlyArray<Session>) => Promise<void>;
  readonly commit: (checkpoint?: Partial<Store.Checkpoint>) => Promise<Store.Counts>;
}

interface Asking {
  readonly kind?: Store.RunKind;
  readonly history?: boolean;
  readonly options?: TableRows.TakeOptions;
}

/** Do work with a store that has a run, and close it whatever comes. */
const working = async <A>(
  target: Target,
  work: (work: Work) => Promise<A>,
  { kind = "sync", history = false, options }: Asking = {},
): Promise<A> => {
  const store = await open(target);
  const take = options ?? { badText: "replace", keyBytes: target.dialect.keyBytes ?? Infinity };
  try {
    await store.prepare({ identity, history });
    const begun = await store.begin({ kind, options: {} }, at(0));
    return await work({
      store,
      begun,
      add: async (userId, sessions) => {
        await store.write(TableRows.ofBatch(Batch.make(userId, sessions), take));
      },
      commit: (checkpoint) =>
        store.commit({ at: at(1), users: [], deletes: "soft", standing, ...checkpoint }),
    });
  } finally {
    await store.close();
  }
};

const end = { end: { verified: true, unverifiedReasons: [] } };

/** Do work in a transaction of a connection of its own. */
const within = async <A>(target: Target, work: (connection: Connection) => Promise<A>): Promise<A> => {
  const connection = await target.connect();
  try {
    return await connection.transaction(() => work(connection));
  } finally {
    await connection.close();
  }
};

const select = (target: Target, statement: string): Promise<ReadonlyArray<Found>> =>
  within(target, (connection) => connection.query(statement));

const execute = (target: Target, statement: string): Promise<unknown> =>
  within(target, (connection) => connection.run(statement));

/** Read ids, times of change and whether each has ended. */
const held = async (target: Target): Promise<ReadonlyArray<string>> => {
  const { table, epoch } = target.dialect;
  const rows = await select(
    target,
    `SELECT "user_id", "session_id", ${epoch(`"last_updated"`)} AS changed, ` +
      `CASE WHEN "_ended_at" IS NULL THEN 0 ELSE 1 END AS ended FROM ${table("sessions")} ` +
      `ORDER BY "user_id", "session_id"`,
  );
  return rows.map((row) =>
    `${row["user_id"]}/${row["session_id"]}@${Number(row["changed"])}${
      Number(row["ended"]) === 1 ? " ended" : ""
    }`
  );
};

const user = (userId: string, listed: Store.Listed, run = 1): Store.StagedUser => ({
  userId,
  cursor: `{"seen":[]}`,
  state: null,
  run,
  listed,
});

/** The checks, each for an empty schema. */
export const contract: ReadonlyArray<Check> = [
  {
    name: "makes its schema once, and finds it again",
    run: async (target) => {
      for (let i = 0; i < 2; i++) await working(target(), ({ commit }) => commit(end));
      equal(await held(target()), [], "sessions");
      const rows = await select(target(), `SELECT count(*) AS n FROM ${target().dialect.table("_runs")}`);
      equal(Number(rows[0]?.["n"]), 2, "runs");
    },
  },
  {
    name: "has each key once, in its newest version",
    run: async (target) => {
      const counts = await working(target(), async ({ add, commit }) => {
        await add("ann", [session("1"), session("2", 1005), session("1", 1002), session("2", 1001)]);
        await add("bob", [session("1", 1003)]);
        await commit();
        await add("ann", [session("1", 1001), session("2", 1006), session("3")]);
        return commit(end);
      });
      equal(await held(target()), ["ann/1@1002", "ann/2@1006", "ann/3@1000", "bob/1@1003"], "sessions");
      equal([counts.inserted, counts.updated, counts.unchanged], [4, 1, 1], "counts");
    },
  },
  {
    name: "takes a change within the same second, and writes nothing where nothing differs",
    run: async (target) => {
      const counts = await working(target(), async ({ add, commit }) => {
        await add("ann", [session("1"), session("2")]);
        await commit();
        await add("ann", [session("1", 1000, { client_ids: ["app", "other"] }), session("2")]);
        return commit({ at: at(9), ...end });
      });
      equal([counts.inserted, counts.updated, counts.unchanged], [2, 1, 1], "counts");
      const { table, epoch } = target().dialect;
      const rows = await select(
        target(),
        `SELECT ${epoch(`"_updated_at"`)} AS n FROM ${table("sessions")} ORDER BY "session_id"`,
      );
      equal(rows.map(({ n }) => Number(n)), [Date.parse(at(9)) / 1000, Date.parse(at(1)) / 1000], "times");
    },
  },
  {
    name: "holds every value as it is",
    run: async (target) => {
      const { table, epoch, types } = target().dialect;
      const odd = session("ü '\"\\\t\n💡", 253_402_300_799, {
        client_ids: ["", "a,b", "{}", 'q"q', "\\", "NULL", "ü"],
        session_key: "",
        last_metadata: {
          country: null,
          city: "x".repeat(1_000_000),
          latitude: "-0.5",
          longitude: "no number",
        },
      });
      const many = session("many", 0, {
        client_ids: Array.from({ length: 10_000 }, (_, i) => `client-${i}`),
      });
      await working(target(), async ({ add, commit }) => {
        await add("ann", [odd, many, session("none", 0, { client_ids: [] })]);
        await commit(end);
      });
      const rows = await select(
        target(),
        `SELECT "session_id", "session_key", "client_ids", "country", "latitude", "longitude", "_rescued_data", ` +
          `CAST("city" AS ${types.text}) AS city, ${epoch(`"last_updated"`)} AS changed ` +
          `FROM ${table("sessions")} ORDER BY "session_key" DESC, "session_id"`,
      );
      const row = rows.find(({ session_id }) => session_id === odd.session_id);
      if (row === undefined) throw new Error(`no row of ${JSON.stringify(odd.session_id)}`);
      const listOf = (value: unknown) => typeof value === "string" ? JSON.parse(value) : value;
      equal(listOf(row["client_ids"]), odd.client_ids, "client_ids");
      equal(
        [row["session_key"], row["country"], row["latitude"], row["longitude"], Number(row["changed"])],
        ["", null, -0.5, null, 253_402_300_799],
        "values",
      );
      equal(row["_rescued_data"], '{"last_metadata":{"longitude":"no number"}}', "_rescued_data");
      equal(String(row["city"]).length, 1_000_000, "length");
      const others = rows.filter((other) => other !== row).map(({ client_ids }) => listOf(client_ids).length);
      equal(others.sort(), [0, 10_000], "lists");
    },
  },
  {
    name: "replaces what no table holds, or puts its row aside, and never a key",
    run: async (target) => {
      const bad = [
        session("1", 1000, { session_key: "a\0b", client_ids: ["\ud800x"] }),
        session("2\0"),
        session("3", 1000, { last_metadata: { latitude: "\0" } }),
      ];
      const counts = await working(target(), async ({ add, commit }) => {
        await add("ann", bad);
        return commit(end);
      });
      equal([counts.inserted, counts.quarantined, counts.replaced_texts], [2, 1, 3], "replaced");
      const again = await working(target(), async ({ add, commit }) => {
        await add("bob", bad);
        await add("bob", bad);
        return commit(end);
      }, { options: { badText: "quarantine", keyBytes: Infinity } });
      equal([again.inserted, again.quarantined], [0, 6], "put aside");
      const { table } = target().dialect;
      const rows = await select(
        target(),
        `SELECT "session_key", "_rescued_data" FROM ${table("sessions")} ORDER BY "session_id"`,
      );
      equal(rows, [
        { session_key: "a\ufffdb", _rescued_data: null },
        { session_key: null, _rescued_data: '{"last_metadata":{"latitude":"\\ufffd"}}' },
      ], "texts");
      const kept = await select(target(), `SELECT count(*) AS n FROM ${table("_quarantine")}`);
      equal(Number(kept[0]?.["n"]), 4, "rows put aside, each once");
    },
  },
  {
    name: "writes a checkpoint whole or not at all",
    run: async (target) => {
      const failed = new Error("as if the process ended here");
      await working(target(), async ({ add, commit }) => {
        await add("ann", [session("1")]);
        await commit({ users: [user("ann", "")] });
        await add("ann", [session("2")]);
        const also = () => Promise.reject(failed);
        const error = await commit({ users: [user("bob", "")], also }).catch((error) => error);
        if (error !== failed && error?.cause !== failed) {
          throw new Error(`${error}, and not the error of the work`);
        }
      });
      equal(await held(target()), ["ann/1@1000"], "sessions");
      const rows = await select(target(), `SELECT "user_id" FROM ${target().dialect.table("_cursors")}`);
      equal(rows, [{ user_id: "ann" }], "cursors");
    },
  },
  {
    name: "gives cursors and states back, and goes on with a run that was broken off",
    run: async (target) => {
      const cursor = `{"at":1000,"seen":[["\\u0000",1,"x"]]}`;
      await working(
        target(),
        ({ commit }) =>
          commit({ users: [{ userId: "ann", cursor, state: `{"walk":1}`, run: 0, listed: "" }] }),
      );
      await working(target(), async ({ store, begun }) => {
        equal([begun.run, begun.epoch, begun.standing.progress], [1, 2, standing.progress], "run");
        const [row] = (await store.cursors()).values();
        equal(row, { userId: "ann", cursor, state: `{"walk":1}`, run: 0 }, "cursor");
      });
    },
  },
  {
    name: "has one writer at a time, and fences one that has lost its lease",
    run: async (target) => {
      const first = await open(target());
      await first.prepare({ identity, history: false });
      await first.begin({ kind: "sync", options: {} }, at(0));
      await first.write(TableRows.ofBatch(Batch.make("ann", [session("late")]), {
        badText: "replace",
        keyBytes: Infinity,
      }));
      const second = await open(target());
      await second.prepare({ identity, history: false });
      await refused("Locked", second.begin({ kind: "sync", options: {} }, at(0)), "a second writer");
      await second.close();
      const { table, types } = target().dialect;
      const longAgo = `CAST('${new Date(Date.now() - 7_200_000).toISOString()}' AS ${types.timestamp})`;
      await execute(target(), `UPDATE ${table("_runs")} SET "beat_at" = ${longAgo}`);
      const third = await open(target());
      await third.prepare({ identity, history: false });
      await third.begin({ kind: "sync", options: {} }, at(0));
      const checkpoint = { at: at(1), users: [], deletes: "soft", standing } as const;
      await refused("LeaseLost", first.commit(checkpoint), "the first writer");
      await refused("LeaseLost", first.beat(), "its heartbeat");
      await third.commit({ ...checkpoint, ...end });
      await first.close();
      await third.close();
      equal(await held(target()), [], "sessions");
    },
  },
  {
    name: "ends what a whole list lacks, and takes it back",
    run: async (target) => {
      const all = ["1", "2", "3"].map((id) => session(id));
      await working(target(), async ({ add, commit }) => {
        for (const userId of ["ann", "bob", "cas", "dee", "eve"]) await add(userId, all);
        await commit(end);
      });
      const counts = await working(target(), async ({ store, add, commit }) => {
        await add("ann", [session("1")]);
        await add("bob", [session("1")]);
        await store.observe("ann", ["2"]);
        await store.observe("eve", [""]);
        const listed = { ann: "open", bob: "", cas: "gone", dee: "whole", eve: "whole" } as const;
        await commit({ users: Object.entries(listed).map(([userId, listed]) => user(userId, listed, 2)) });
        await add("dee", [session("2")]);
        return commit({ users: [user("ann", "whole", 2)], ...end });
      }, { kind: "prune" });
      equal(await held(target()), [
        ...["ann/1@1000", "ann/2@1000", "ann/3@1000 ended"],
        ...["bob/1@1000", "bob/2@1000", "bob/3@1000"],
        ...["cas/1@1000 ended", "cas/2@1000 ended", "cas/3@1000 ended"],
        ...["dee/1@1000 ended", "dee/2@1000", "dee/3@1000 ended"],
        ...["eve/1@1000", "eve/2@1000", "eve/3@1000"],
      ], "sessions");
      equal(counts.ended_sessions, 7, "ended");
      const live = await select(
        target(),
        `SELECT count(*) AS n FROM ${target().dialect.table("sessions_live")}`,
      );
      equal(Number(live[0]?.["n"]), 9, "live");
    },
  },
  {
    name: "deletes what has ended where it is asked to",
    run: async (target) => {
      await working(target(), async ({ add, commit }) => {
        await add("ann", [session("1"), session("2")]);
        await commit(end);
      });
      await working(target(), async ({ add, commit }) => {
        await add("ann", [session("2")]);
        await commit({ users: [user("ann", "whole")], deletes: "hard", ...end });
      }, { kind: "prune" });
      equal(await held(target()), ["ann/2@1000"], "sessions");
    },
  },
  {
    name: "adds every version to a history",
    run: async (target) => {
      await working(target(), async ({ add, commit }) => {
        await add("ann", [session("1")]);
        await commit();
        await add("ann", [session("1"), session("2")]);
        await commit();
        await add("ann", [session("1", 1001)]);
        await commit(end);
      }, { history: true });
      const { table, epoch } = target().dialect;
      const rows = await select(
        target(),
        `SELECT "session_id", ${epoch(`"last_updated"`)} AS changed FROM ${
          table("sessions_history")
        } ORDER BY 1, 2`,
      );
      equal(rows.map(({ session_id, changed }) => `${session_id}@${Number(changed)}`), [
        "1@1000",
        "1@1001",
        "2@1000",
      ], "versions");
    },
  },
  {
    name: "refuses another tenant, filter and redaction",
    run: async (target) => {
      await working(target(), ({ commit }) => commit(end));
      const others = [
        ["Foreign", { ...identity, tenant: "https://other.example" }],
        ["Options", { ...identity, filters: { clientId: "app" } }],
        ["Options", { ...identity, redaction: { ip: "drop" } }],
      ] as const;
      for (const [reason, identity] of others) {
        const store = await open(target());
        await refused(reason, store.prepare({ identity, history: false }), JSON.stringify(identity));
        await store.close();
      }
    },
  },
  {
    name: "refuses a newer schema, an altered table, and a table of something else",
    run: async (target) => {
      const { table, types, createSchema } = target().dialect;
      const prepare = async () => {
        const store = await open(target());
        try {
          await store.prepare({ identity, history: false });
        } finally {
          await store.close();
        }
      };
      await within(target(), async (connection) => {
        if (createSchema !== undefined) await connection.run(createSchema.statement);
        await connection.run(`CREATE TABLE ${table("sessions")} ("id" ${types.integer})`);
      });
      await refused("Foreign", prepare(), "a table of something else");
      await execute(target(), `DROP TABLE ${table("sessions")}`);
      await prepare();
      await execute(target(), `UPDATE ${table("_meta")} SET "value" = '99' WHERE "key" = 'schema_version'`);
      await refused("Foreign", prepare(), "a newer schema");
      await execute(
        target(),
        `UPDATE ${table("_meta")} SET "value" = '${Tables.schemaVersion}' WHERE "key" = 'schema_version'`,
      );
      await execute(target(), `ALTER TABLE ${table("_quarantine")} ADD COLUMN "extra" ${types.text}`);
      await refused("Foreign", prepare(), "an altered table");
    },
  },
  {
    name: "adds a column that an earlier version did not know, and fills it",
    run: async (target) => {
      const { table } = target().dialect;
      const metadata = { city: "Rome", ip_address: "1.2.3.4" };
      await working(target(), async ({ add, commit }) => {
        await add("ann", [session("1", 1000, { last_metadata: metadata }), session("2")]);
        await commit(end);
      }, { history: true });
      // As the version before would have it.
      await within(target(), async (connection) => {
        const names = Tables.sessionColumns.map(({ name }) => name).filter((name) => name !== "ip_address");
        const json = '{"new":[1.0],"last_metadata":{"other":1,"ip_address":"1.2.3.4"}}';
        await connection.run(Tables.dropView(target().dialect));
        for (const name of ["sessions", "sessions_history"]) {
          await connection.run(`ALTER TABLE ${table(name)} DROP COLUMN "ip_address"`);
          await connection.run(`UPDATE ${table(name)} SET "_rescued_data" = $1 WHERE "session_id" = '1'`, [
            json,
          ]);
          await connection.run(
            `UPDATE ${
              table(name)
            } SET "_rescued_data" = '{"last_metadata":{"ip_address":null}}' WHERE "session_id" = '2'`,
          );
        }
        const [live] = Tables.createAll(target().dialect, { history: false }).filter((text) =>
          /^CREATE VIEW/.test(text)
        );
        await connection.run(live!.replace('"ip_address", ', ""));
        await connection.run(`UPDATE ${table("_meta")} SET "value" = $1 WHERE "key" = 'columns'`, [
          JSON.stringify(names),
        ]);
      });
      await working(target(), ({ commit }) => commit(end));
      for (const name of ["sessions", "sessions_live", "sessions_history"]) {
        const rows = await select(
          target(),
          `SELECT "ip_address", "_rescued_data" FROM ${table(name)} ORDER BY "session_id"`,
        );
        equal(rows.map((row) => [row["ip_address"], row["_rescued_data"]]), [
          ["1.2.3.4", '{"new":[1.0],"last_metadata":{"other":1}}'],
          [null, null],
        ], name);
      }
    },
  },
];
