/** What JavaScript's callers leave out or mistake: told in words, before any request. */
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as promise from "../../src/promise.ts";
import { make as makeTarget } from "../../src/warehouse/duckdb.ts";
import { newFolder } from "../folders.ts";
import { reasonOf, tenant } from "./tenant.ts";
import { some } from "../size.ts";

type Call = (options: unknown) => Promise<unknown>;

const drain = async (values: AsyncIterable<unknown>) => {
  for await (const _ of values);
};

/** Every call, to its end; with options that it needs besides. */
const calls: Readonly<
  Record<string, { readonly call: Call; readonly more: object; readonly doing: string }>
> = {
  sessions: { call: (given) => drain(promise.sessions(given as never)), more: {}, doing: "read sessions" },
  changes: {
    call: (given) => drain(promise.changes(given as never)),
    more: { cursors: new Map() },
    doing: "read changes",
  },
  stream: {
    call: async (given) => await new Response(promise.stream("csv.gz", given as never)).arrayBuffer(),
    more: {},
    doing: "export",
  },
  response: {
    call: async (given) => await (await promise.response("ndjson", given as never)).arrayBuffer(),
    more: {},
    doing: "export",
  },
  exportSessions: {
    call: (given) => promise.exportSessions(given as never),
    more: { out: "never.csv" },
    doing: "export",
  },
  dataset: {
    call: (given) => promise.dataset(given as never),
    more: { folder: "never", formats: "csv" },
    doing: "export into a folder",
  },
  sync: {
    call: (given) => promise.sync(given as never),
    more: { target: makeTarget({ path: "never.duckdb" }) },
    doing: "sync",
  },
};
const names = Object.keys(calls);

const set = (options: object, name: string, value: unknown) => ({ ...options, [name]: value });
const without = (options: object, name: string) =>
  Object.fromEntries(Object.entries(options).filter(([key]) => key !== name));

describe.each(names)("%s()", (name) => {
  const { call, more, doing } = calls[name]!;
  const whole = () => {
    const { sandbox, options } = tenant();
    return { sandbox, given: { ...options, users: "all", ...more } };
  };
  const flawOf = async (given: unknown) => {
    const error = await reasonOf(call(given));
    expect(error).toBeInstanceOf(TypeError);
    return (error as Error).message;
  };

  it("says what is missing", async () => {
    const { given } = whole();
    expect(await flawOf(undefined)).toBe(`Cannot ${doing} as 'domain' must be given`);
    expect(await flawOf({})).toBe(`Cannot ${doing} as 'domain' must be given`);
    for (const needed of ["domain", "apiKey", "users", ...Object.keys(more)]) {
      for (const lacking of [without(given, needed), set(given, needed, undefined)]) {
        expect(await flawOf(lacking)).toBe(`Cannot ${doing} as '${needed}' must be given`);
      }
    }
  });

  it.each([
    [null, "the options must be a plain object: it is null"],
    ["acme.example", "the options must be a plain object: it is a string"],
    [[], "the options must be a plain object: it is a list"],
    [{ userz: "all" }, 'there is no option "userz" (did you mean users?)'],
  ])("refuses %o for options", async (given, flaw) => {
    expect(await flawOf(given)).toContain(`Cannot ${doing} as ${flaw}`);
  });

  it.each([
    ["users", "alice", `'users' must be a list of user ids, or "all": it is a string`],
    ["users", 7, `'users' must be a list of user ids, or "all": it is a number`],
    ["users", [undefined], "'users' must be user ids, which are texts: one of them is undefined"],
    ["users", new Map([["a", 1]]), "'users' must be user ids, which are texts: one of them is a list"],
    ["users", [""], "'users' must be user ids, which are texts: one of them is empty"],
    ["apiKey", 7, "'apiKey' must be a text: it is a number"],
    [
      "timeout",
      "30s",
      `'timeout' must be milliseconds from 0 on, or a text such as "30 seconds": it is a string`,
    ],
    [
      "maxElapsed",
      -1,
      `'maxElapsed' must be milliseconds from 0 on, or a text such as "30 seconds": it is a number`,
    ],
    ["signal", {}, "'signal' must be an AbortSignal: it is an object"],
    ["filter", "country", "'filter' must be a function: it is a string"],
    ["redact", { ip: "drop" }, `there is no option "ip" in 'redact': allowed are policy, secret`],
    ["redact", {}, "'redact.policy' must be given"],
    [
      "redact",
      { policy: { ip: "hide" } },
      `'redact.policy.ip' must be "keep" or "truncate" or "hash" or "drop"`,
    ],
  ])("refuses %s: %o", async (option, value, flaw) => {
    const { sandbox, given } = whole();
    // A table equals the tenant: what it lacks by a function of one's own, no later run could tell.
    const said = name === "sync" && option === "filter" ? 'there is no option "filter"' : flaw;
    expect(await flawOf(set(given, option, value))).toContain(`Cannot ${doing} as ${said}`);
    expect(sandbox.counts.total).toBe(0);
  });

  it("refuses a hash without a secret, or with a short one, and tells no secret", async () => {
    const { sandbox, given } = whole();
    for (const secret of [undefined, "too short"]) {
      const flaw = await flawOf({ ...given, redact: { policy: { ip: "hash" }, secret } });
      expect(flaw).toContain("Cannot hash as the secret must have 32 bytes or more");
      expect(flaw).not.toContain("too short");
    }
    expect(sandbox.counts.total).toBe(0);
  });

  it("says in words what is wrong with any value of any option, and asks for nothing", async () => {
    const folder = await newFolder();
    const options = [
      "domain",
      "apiKey",
      "users",
      "rate",
      "burst",
      "timeout",
      "maxAttempts",
      "maxElapsed",
      "baseDelay",
    ]
      .concat(["maxDelay", "maxBodyBytes", "fetch", "clientId", "sort", "pageSize", "concurrency", "signal"])
      .concat(["filter", "map", "redact", ...Object.keys(more)]);
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...options),
        // Numbers and texts may be right, and would be used.
        fc.anything({ withDate: true, withMap: true, withSet: true, withNullPrototype: true }).filter((
          value,
        ) => value !== undefined && !["number", "string", "bigint"].includes(typeof value)),
        async (option, value) => {
          // A list may hold ids, and would be used.
          fc.pre(option !== "users" || !(Symbol.iterator in Object(value)));
          const { sandbox, given } = whole();
          const place = { dataset: "folder", exportSessions: "out" }[name];
          const fixed = place === undefined ? given : set(given, place, join(folder, "out.csv"));
          const error = await call(set(fixed, option, value)).then(
            () => undefined,
            (error: unknown) => error,
          );
          if (error === undefined) {
            // A Map is a store.
            expect(option).toBe("cursors");
            return;
          }
          refused++;
          expect(error).toBeInstanceOf(Error);
          expect((error as Error).message).toMatch(
            /^Cannot (read sessions|read changes|export|export into a folder|sync|hash) /,
          );
          expect((error as Error).message).not.toMatch(/read properties|is not a function|is not iterable/);
          expect(sandbox.counts.total).toBe(0);
        },
      ),
      { numRuns: some(150) },
    );
    expect(refused).toBeGreaterThan(some(80));
  });
});

describe("stream() and response()", () => {
  it.each(["xlsx", "parquet.gz", "CSV", undefined, null, 7, "constructor", "__proto__"])(
    "refuse the format %s",
    async (format) => {
      const { options } = tenant();
      const given = { ...options, users: "all" } as const;
      const flaw =
        `Cannot export as 'format' must be "ndjson" or "ndjson.gz" or "csv" or "csv.gz" or "parquet": it is`;
      expect(() => promise.stream(format as never, given)).toThrow(flaw);
      expect(String(await reasonOf(promise.response(format as never, given)))).toContain(flaw);
    },
  );
});

describe("filter, map and redact", () => {
  const SECRET = "a secret of at least thirty-two bytes";

  /** The sessions of NDJSON, without their order. */
  const rowsOf = (text: string): ReadonlyArray<promise.UserSession> =>
    text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
  const sorted = (rows: ReadonlyArray<promise.UserSession>) =>
    rows.map((row) =>
      `${row.user_id} ${row.session_id} ${row["extra" as never]} ${row.last_metadata?.ip_address}`
    ).sort();

  it("do the same to sessions that are read one by one and to bytes, whichever are kept and changed", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 7 }),
        fc.boolean(),
        fc.constantFrom("keep", "truncate", "hash", "drop"),
        async (divisor, hasMap, ip) => {
          const { sandbox, options } = tenant({ sessionsPerUser: 20 });
          const keep = ({ initiated_at }: promise.Session) => initiated_at % divisor === 0;
          const given = {
            ...options,
            users: "all",
            filter: keep,
            map: hasMap
              ? (session: promise.Session, userId: string) => ({ ...session, extra: userId })
              : undefined,
            redact: { policy: { ip, unknown: "keep" }, secret: SECRET },
          } as const;
          const found: Array<promise.UserSession> = [];
          for await (const session of promise.sessions(given)) found.push(session);
          const wanted = [...sandbox.userIds()].flatMap((id) => [...sandbox.sessions(id)].filter(keep));
          expect(found).toHaveLength(wanted.length);
          const all = await new Response(promise.stream("ndjson", given)).text();
          expect(sorted(rowsOf(all))).toEqual(sorted(found));
          for (const session of found) {
            expect("extra" in session).toBe(hasMap);
            const { ip_address } = session.last_metadata ?? {};
            if (ip === "drop") expect(ip_address ?? null).toBeNull();
            if (ip === "hash") expect(ip_address ?? "0".repeat(64)).toMatch(/^[0-9a-f]{64}$/);
          }
        },
      ),
      { numRuns: some(40) },
    );
  });

  it("come in that order: nothing that map adds escapes redact", async () => {
    const { options } = tenant();
    const map = (session: promise.Session) => ({ ...session, leak: "203.0.113.7" });
    for await (const session of promise.sessions({ ...options, users: "all", map, redact: { policy: {} } })) {
      expect(session).not.toHaveProperty("leak");
      expect(session.session_key).toBeNull();
    }
  });

  it("leave of a row that is no session what redaction leaves, wherever it is told", async () => {
    const { options } = tenant({ malformed: 1, sessionsPerUser: 3 });
    const given = { ...options, users: "all", redact: { policy: { ip: "drop" } } } as const;
    const rows: Array<promise.QuarantinedRow> = [];
    for await (
      const _ of promise.sessions({
        ...given,
        allowUnverified: true,
        onQuarantined: (row) => rows.push(row),
      })
    );
    expect(rows).toHaveLength(9);
    for (const { source, redacted } of rows) {
      expect(redacted).toBe(true);
      expect(Object.keys(JSON.parse(source)).filter((name) => name !== "session_id")).toEqual([]);
    }
    const error = await reasonOf(drain(promise.sessions(given)));
    expect((error as Error).message).toContain("the values are redacted");
  });

  it.each([
    [() => undefined, "Expected Session, actual undefined"],
    [() => null, "actual null"],
    [(session: promise.Session) => ({ ...session, expires_at: "soon" }), "expires_at: Expected"],
    [(session: promise.Session) => ({ ...session, session_id: "" }), "session_id: Expected"],
    [({ session_id }: promise.Session) => ({ session_id }), "client_ids: is missing"],
  ])("refuse what map returns that is no session: %s", async (map, flaw) => {
    const { options } = tenant();
    const given = { ...options, users: "all", map } as never;
    for (const name of ["sessions", "stream", "changes"]) {
      const error = await reasonOf(
        calls[name]!.call(set(given, "cursors", new Map())).catch(async (error: Error) => {
          // One of them has no cursors.
          if (error.message.includes('no option "cursors"')) await calls[name]!.call(given);
          throw error;
        }),
      );
      expect(error).toBeInstanceOf(TypeError);
      expect((error as Error).message).toMatch(
        /^Cannot (read sessions|read changes|export) as 'map' must return a session\. What it returned for session "\S+" of user "\S+" is none: /,
      );
      expect((error as Error).message).toContain(flaw);
    }
  });

  it("quote nothing of what map returns where there is a redaction", async () => {
    const { options } = tenant();
    const map = (session: promise.Session) => ({
      ...session,
      last_metadata: { ip_address: { v4: "203.0.113.7" } },
    });
    const given = { ...options, users: "all", map, redact: { policy: { ip: "drop" } } } as never;
    const error = await reasonOf(drain(promise.sessions(given)));
    expect((error as Error).message).toMatch(/is none: wrong: last_metadata\.ip_address\b/);
    expect((error as Error).message).not.toContain("203.0.113.7");
  });

  it("refuse functions that are async, as their promises would be taken for an answer", async () => {
    const { options } = tenant();
    const filter = () => Promise.resolve(false);
    const filtered = await reasonOf(drain(promise.sessions({ ...options, users: "all", filter } as never)));
    expect(filtered).toEqual(
      new TypeError("Cannot read sessions as 'filter' must return true or false: it is async"),
    );
    const map = (session: promise.Session) => Promise.resolve(session);
    const mapped = await reasonOf(drain(promise.sessions({ ...options, users: "all", map } as never)));
    expect(mapped).toEqual(new TypeError("Cannot read sessions as 'map' must return a session: it is async"));
    const loose = await reasonOf(
      drain(promise.sessions({ ...options, users: "all", filter: () => 1 } as never)),
    );
    expect(loose).toEqual(
      new TypeError("Cannot read sessions as 'filter' must return true or false: it returned number"),
    );
  });

  it("throw what they throw", async () => {
    const { options } = tenant();
    const thrower = () => {
      throw new Error("this test's");
    };
    for (const change of [{ filter: thrower }, { map: thrower }]) {
      for (const name of ["sessions", "stream"]) {
        const error = await reasonOf(calls[name]!.call({ ...options, users: "all", ...change }));
        expect(error).toEqual(new Error("this test's"));
      }
    }
  });
});
