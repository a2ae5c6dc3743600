/** What a thread is told and does not know is refused, by its caller and by itself. */
import { Worker } from "node:worker_threads";
import * as Effect from "effect/Effect";
import * as Either from "effect/Either";
import * as fc from "fast-check";
import * as Redacted from "effect/Redacted";
import * as Schema from "effect/Schema";
import { describe, expect, it } from "vitest";
import * as Messages from "../../src/thread/Messages.ts";
import { Runner, Thread } from "../../src/thread/effect.ts";
import { exportSessions, serve, stream } from "../../src/thread/mod.ts";
import { addressesIn, nearly, policyKinds } from "../nearly.ts";
import { onDeno } from "../runtime.ts";
import { entry, memory, run, spawner, tenantOf } from "./threads.ts";

const right = (...values: ReadonlyArray<unknown>) => fc.constantFrom(...values);

/** A message that asks for an export, as it is sent. */
const message = {
  _tag: "StartExport",
  exportId: 0,
  tenant: { domain: "http://127.0.0.1:1", apiKey: "a-key" },
  users: ["a"],
  walk: {},
  redact: { policy: { ip: "drop" } },
  targets: [{ format: "csv", gzip: false, to: { caller: "csv" } }],
  csv: {},
  windowBytes: 1000,
  progressEvery: 1000,
} as const;

it("a message that can't be read is refused without a word of its key or its secret", () => {
  const secret = "s".repeat(40);
  for (
    const wrong of [
      { tenant: { ...message.tenant, apiKey: "key-of-this-test", rate: "fast" } },
      { redact: { policy: { ip: "hash", agent: "drop" }, secret } },
    ]
  ) {
    const refused = Schema.decodeUnknownEither(Messages.StartExport)({ ...message, ...wrong });
    const { message: said } = Either.getOrThrow(Either.flip(refused));
    expect(said).toContain("options that this version does not know");
    expect(said).not.toMatch(/key-of-this-test|sssss/);
  }
});

describe.skipIf(onDeno)("a thread", () => {
  it("is told what its caller's names say, and no address leaves it that was to be dropped", async () => {
    const { users, tenant, sandbox } = await tenantOf({ users: 1, sessionsPerUser: 5 });
    const seen = { right: 0, wrong: 0 };
    const given = nearly(policyKinds).chain((policy) =>
      nearly({
        walk: {
          right: right({}, { pageSize: 10 }),
          wrong: right({ areListed: true }, { page_size: 10 }, null),
        },
        windowBytes: { right: right(100, 1 << 20), wrong: right("100", null) },
        onInvalid: { right: right("fail"), wrong: right("Fail", true) },
        csv: { right: right({}, { escapeFormulas: false }), wrong: right({ escape: false }, []) },
        quarantine: { right: right(undefined) },
      }, {
        fixed: { tenant, users, redact: { policy: policy.value, secret: Redacted.make("s".repeat(32)) } },
      }).map((given) => ({ ...given, isRight: given.isRight && policy.isRight, policy: policy.says }))
    );
    await run(Effect.gen(function* () {
      const thread = yield* Thread.make(spawner().options);
      yield* Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(given, async ({ value, isRight, policy }) => {
            seen[isRight ? "right" : "wrong"]++;
            const before = sandbox.counts.total;
            const { output, bytes } = memory("ndjson");
            Object.defineProperty(value, "targets", {
              value: [{ format: "ndjson", to: output }],
              enumerable: true,
            });
            const result = await Effect.runPromise(thread.run(value as Thread.ExportOptions)).catch((error) =>
              error
            );
            if (!isRight) {
              expect(String(result)).toMatch(/TypeError: Cannot export in a thread as /);
              expect(String(result)).not.toContain(sandbox.key);
              expect(sandbox.counts.total).toBe(before);
              return;
            }
            expect(result).toMatchObject({ sessions: 5 });
            const text = bytes().toString().replace(/"user_agent":"[^"]*"/g, "");
            const isShown = (policy["ip"] ?? "keep") === "keep" || policy["ip"] === "truncate";
            expect(addressesIn(text).length > 0).toBe(isShown);
          }),
          { numRuns: 100 },
        )
      );
    }));
    expect(Math.min(seen.right, seen.wrong)).toBeGreaterThan(10);
  });

  it("refuses a message that holds what it does not know, however deep", () => {
    const decode = Schema.decodeUnknownEither(Messages.Request);
    expect(Either.isRight(decode(message))).toBe(true);
    for (const part of ["tenant", "walk", "redact", "csv"] as const) {
      const wrong = { ...message, [part]: { ...message[part], redaction: { ip: "drop" } } };
      expect([part, Either.isLeft(decode(wrong))]).toEqual([part, true]);
    }
    const [target] = message.targets;
    for (
      const wrong of [
        { ...message, redaction: { policy: { ip: "drop" } } },
        { ...message, [Symbol("redact")]: {} },
        JSON.parse(JSON.stringify(message).replace("{", '{"__proto__":{},')),
        { ...message, targets: [{ ...target, redact: {} }] },
        { ...message, targets: [{ ...target, to: { ...target.to, file: "x" } }] },
        { _tag: "Acknowledge", exportId: 0, bytes: 1, more: 1 },
      ]
    ) expect(Either.isLeft(decode(wrong))).toBe(true);
    fc.assert(
      fc.property(
        fc.string().filter((name) => !Object.hasOwn(message, name)),
        fc.anything(),
        (name, value) => {
          fc.pre(!["quarantine", "onInvalid", "maxQuarantined", "parquet"].includes(name));
          const wrong = Object.defineProperty({ ...message }, name, { value, enumerable: true });
          expect(Either.isLeft(decode(wrong))).toBe(true);
        },
      ),
    );
  });

  it("asks for nothing if a message that holds more reaches it all the same", async () => {
    const { users, tenant, sandbox } = await tenantOf({ users: 1 });
    const before = sandbox.counts.total;
    const tampering = () => {
      const worker = new Worker(entry);
      const tampered = (sent: unknown) => {
        const [kind, [id, is, request, ...more]] = sent as [
          number,
          [number, number, object, ...Array<unknown>],
        ];
        return [kind, [id, is, { ...request, redaction: { ip: "drop" } }, ...more]];
      };
      return {
        on: worker.on.bind(worker),
        terminate: () => worker.terminate(),
        postMessage: (sent: ReadonlyArray<unknown>) =>
          worker.postMessage(sent.length > 1 ? tampered(sent) : sent),
      };
    };
    const { output, state } = memory("csv");
    const work = Effect.flatMap(
      Thread.make({ spawn: tampering as never }),
      ({ run }) => run({ tenant, users, targets: [{ format: "csv", to: output }] }),
    );
    expect((await Effect.runPromiseExit(Effect.scoped(work)))._tag).toBe("Failure");
    expect([sandbox.counts.total, state()]).toEqual([before, "undone"]);
  });

  it("is started, served and streamed from with options that there are", async () => {
    const wrong = { redactt: { policy: { ip: "drop" } } } as never;
    const saying = 'there is no option "redactt"';
    const failing = (work: Effect.Effect<unknown, unknown, never>) => Effect.runPromise(work);
    await expect(failing(Effect.scoped(Thread.make(wrong)))).rejects.toThrow(saying);
    await expect(Runner.serve(new MessageChannel().port1, wrong)).rejects.toThrow(saying);
    await expect(serve(new MessageChannel().port1, wrong)).rejects.toThrow(saying);
    expect(() => stream("csv", wrong)).toThrow(`${saying} (did you mean redact?)`);
    await expect(exportSessions(wrong)).rejects.toThrow(`${saying} (did you mean redact?)`);
    const { tenant, sandbox } = await tenantOf({ users: 1 });
    const run = Effect.flatMap(
      Thread.make(spawner().options),
      ({ run }) =>
        run({ tenant, users: ["a"], targets: [], redact: { policy: { ip_adress: "drop" } as never } }),
    );
    await expect(failing(Effect.scoped(run))).rejects.toThrow(
      `there is no field "ip_adress" in 'redact.policy' (did you mean ip?)`,
    );
    expect(sandbox.counts.total).toBe(0);
  });
});
