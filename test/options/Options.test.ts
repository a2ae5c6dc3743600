/** Options that there are, and those that there are not: in the library and in the redaction. */
import * as Either from "effect/Either";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as Options from "../../src/options/Options.ts";
import * as promise from "../../src/promise.ts";
import * as Redaction from "../../src/session/Redaction.ts";
import { make } from "../../src/sandbox/mod.ts";
import { newFolder } from "../folders.ts";
import { nearly, policyKinds } from "../nearly.ts";

const kind = Options.object<{ redact?: object; rate?: number; clientId?: string }>({
  redact: Options.object<{ ip?: string }>({ ip: Options.oneOf(["keep", "drop"]) }),
  rate: Options.number,
  clientId: Options.text,
});

const flaw = (value: unknown) => Either.getOrThrow(Either.flip(Options.read(kind, value)));

describe("an option that there is not", () => {
  it.each([
    ["redct", "redact"],
    ["redaction", "redact"],
    ["REDACT", "redact"],
    ["client_id", "clientId"],
    ["client", "clientId"],
    ["rates", "rate"],
    ["zzz", undefined],
    ["", undefined],
    ["__proto__", undefined],
  ])("%s is refused, the others are named, and what was meant as well", (name, meant) => {
    const hint = meant === undefined ? "" : ` (did you mean ${meant}?)`;
    expect(flaw(JSON.parse(`{${JSON.stringify(name)}:1}`))).toBe(
      `there is no option ${JSON.stringify(name)}${hint}: allowed are redact, rate, clientId`,
    );
  });

  it("is refused though it is undefined, deep, a symbol or very long", () => {
    expect(flaw({ redct: undefined })).toContain('no option "redct"');
    expect(flaw({ redact: { ip_adress: "drop" } })).toBe(
      `there is no option "ip_adress" in 'redact' (did you mean ip?): allowed are ip`,
    );
    expect(flaw({ [Symbol("redact")]: {} })).toContain('no option "Symbol(redact)"');
    expect(flaw({ ["x".repeat(1e6)]: 1 }).length).toBeLessThan(200);
  });

  it("one that is there is left out if it is undefined, and asked for once", () => {
    let asked = 0;
    const given = {
      get rate() {
        return ++asked;
      },
      clientId: undefined,
    };
    expect(Options.take("test", kind, given)).toEqual({ rate: 1 });
    expect(() => Options.take("test", kind, { rate: "a-secret" })).toThrow(
      new TypeError("Cannot test as 'rate' must be a number: it is a string"),
    );
  });
});

describe("whatever object is given,", () => {
  it("a redaction is refused, or does what its names say and nothing else", () => {
    const defaults = Redaction.settle({});
    const seen = { right: 0, wrong: 0 };
    fc.assert(
      fc.property(nearly(policyKinds), ({ value, isRight, says }) => {
        seen[isRight ? "right" : "wrong"]++;
        if (isRight) expect(Redaction.settle(value as Redaction.Policy)).toEqual({ ...defaults, ...says });
        else {
          for (const use of [Redaction.settle, Redaction.make]) {
            expect(() => use(value as Redaction.Policy)).toThrow(TypeError);
          }
        }
      }),
      { numRuns: 500 },
    );
    expect(Math.min(seen.right, seen.wrong)).toBeGreaterThan(50);
  });

  it("the library refuses it before it asks for anything, or does what its names say", async () => {
    const sandbox = make({ users: 2, sessionsPerUser: 5, seed: 2 });
    const [userId = ""] = sandbox.userIds();
    const own = [...sandbox.sessions(userId)];
    const folder = await newFolder();
    const fixed = {
      domain: "sandbox.example",
      apiKey: sandbox.key,
      users: [userId],
      rate: 1000,
      fetch: (input: string, init: RequestInit) => sandbox.fetch(new Request(input, init)),
    };
    const common = {
      clientId: {
        right: fc.constantFrom(undefined, own[0]!.client_ids[0]),
        wrong: fc.constantFrom(1, null, []),
      },
      pageSize: { right: fc.constantFrom(undefined, 10, 50), wrong: fc.constantFrom("50", null, {}) },
      onFailure: { right: fc.constantFrom("stop", "continue"), wrong: fc.constantFrom("Continue", true) },
      sort: {
        right: fc.constantFrom("session_id:1", undefined),
        wrong: fc.constantFrom("session_id", "id:1", 1),
      },
    };
    const verdict = {
      allowUnverified: { right: fc.boolean(), wrong: fc.constantFrom("false", "no", 0, null) },
    };
    const encoding = {
      onInvalid: { right: fc.constantFrom("fail", "quarantine"), wrong: fc.constantFrom("Fail", "abort") },
      maxQuarantined: {
        right: fc.constantFrom({ count: 1 }, { percent: 5 }),
        wrong: fc.constantFrom(1, {}, { counts: 1 }, { count: "1" }, { count: 1, percent: 1 }),
      },
      csv: {
        right: fc.constantFrom({}, { escapeFormulas: true }),
        wrong: fc.constantFrom({ escape: false }, null),
      },
      parquet: {
        right: fc.constantFrom({}, { version: 2, rowGroupRows: 5 }, { codec: "uncompressed" }),
        wrong: fc.constantFrom({ version: 3 }, { version: "1" }, { rowGroups: 5 }, []),
      },
    };
    const folderOf = (out: string) => ({ ...fixed, out: [out], quarantine: `${out}.quarantine.ndjson` });
    let file = 0;
    const uses = [
      [nearly({ ...common, ...verdict }, { fixed }), async (given: unknown) => {
        let count = 0;
        for await (const _ of promise.sessions(given as never)) count++;
        return count;
      }],
      [nearly({ ...common, ...verdict, ...encoding }, { fixed }), async (given: unknown) => {
        const stream = promise.stream("ndjson", given as never);
        return (await new Response(stream).text()).split("\n").length - 1;
      }],
      [
        fc.constant(undefined).chain(() =>
          nearly({ ...common, ...encoding }, { fixed: folderOf(`${folder}/${file++}.csv`) })
        ),
        async (given: unknown) => (await promise.exportSessions(given as never)).sessions,
      ],
    ] as const;
    const seen = { right: 0, wrong: 0 };
    for (const [given, use] of uses) {
      await fc.assert(
        fc.asyncProperty(given, async ({ value, isRight, says }) => {
          seen[isRight ? "right" : "wrong"]++;
          const before = sandbox.counts.total;
          const result = await use(value).catch((error: unknown) => error);
          if (isRight) {
            const { clientId } = says;
            expect(result).toBe(
              own.filter(({ client_ids }) =>
                clientId === undefined || client_ids.includes(clientId as string)
              ).length,
            );
          } else {
            expect(result).toBeInstanceOf(TypeError);
            expect((result as TypeError).message).toMatch(/^Cannot (export|read sessions) as /);
            expect((result as TypeError).message).not.toContain(sandbox.key);
            expect(sandbox.counts.total).toBe(before);
          }
        }),
        { numRuns: 60 },
      );
    }
    expect(Math.min(seen.right, seen.wrong)).toBeGreaterThan(15);
  });

  it("the library refuses a redaction that it does not know, and a format that there is not", async () => {
    const sandbox = make({ users: 1 });
    const options = {
      domain: "sandbox.example",
      apiKey: sandbox.key,
      users: "all",
      fetch: (input: string, init: RequestInit) => sandbox.fetch(new Request(input, init)),
      redact: { policy: { ip_adress: "drop" } },
    } as never;
    await expect(promise.sessions(options).next()).rejects.toThrow(
      `there is no field "ip_adress" in 'redact.policy'`,
    );
    expect(() => promise.stream("csv", options)).toThrow(`there is no field "ip_adress" in 'redact.policy'`);
    await expect(promise.exportSessions(options)).rejects.toThrow(
      `there is no field "ip_adress" in 'redact.policy'`,
    );
    for (const format of ["xls", "constructor", "__proto__", undefined]) {
      expect(() => promise.stream(format as never, {} as never)).toThrow(/Cannot export as 'format' must be/);
    }
    expect(sandbox.counts.total).toBe(0);
  });
});
