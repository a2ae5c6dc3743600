/** What nobody knows is refused, over HTTP and everywhere else a redaction can be asked for. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as Effect from "effect/Effect";
import * as Redacted from "effect/Redacted";
import * as fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import * as promise from "../../src/promise.ts";
import * as Redaction from "../../src/session/Redaction.ts";
import { Thread } from "../../src/thread/effect.ts";
import type { Settings } from "../../src/server/Settings.ts";
import type * as Job from "../../src/server/jobs/Job.ts";
import * as Server from "../../src/server/Server.ts";
import { run, tenant } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { addressesIn, nearly, policyKinds } from "../nearly.ts";
import { memory, spawner } from "../thread/threads.ts";
import { runtimes, serve } from "./serving.ts";

/** A server in this process, and how to ask it. */
const server = async () => {
  const { sandbox, env } = await tenant({ users: 1, sessionsPerUser: 6 });
  const folder = await newFolder();
  const settings: Settings = {
    tenant: { origin: env.MONOCLOUD_DOMAIN, apiKey: Redacted.make(sandbox.key) },
    rate: 10_000,
    token: undefined,
    folder,
    exports: 2,
    queue: 100,
    downloads: 10,
    streams: 10,
    idleSeconds: 10,
    requestSeconds: 10,
    graceSeconds: 0,
    redactSecret: Redacted.make("s".repeat(32)),
    queueUrl: undefined,
    telemetry: undefined,
    log: "off",
  };
  const { fetch, stop } = await Effect.runPromise(Server.make(settings));
  onTestFinished(stop);
  const ask = (method: string, path: string, body?: string, type = "application/json") => {
    const length = body === undefined ? "0" : String(new TextEncoder().encode(body).length);
    const headers = { host: "localhost", "content-length": length, "content-type": type };
    const request = new Request(`http://localhost${path}`, { method, headers, ...(body && { body }) });
    return fetch(request, { from: "127.0.0.1" });
  };
  return { sandbox, folder, ask };
};

const ended = async (ask: Awaited<ReturnType<typeof server>>["ask"], id: string): Promise<Job.View> => {
  while (true) {
    const view: Job.View = await (await ask("GET", `/v1/exports/${id}`)).json();
    if (view.status !== "queued" && view.status !== "running") return view;
    await new Promise((resume) => setTimeout(resume, 5));
  }
};

const right = (...values: ReadonlyArray<unknown>) => fc.constantFrom(...values);

describe("over HTTP", () => {
  it("whatever is asked for is refused, or done as its names say: no address leaves that was to be dropped", async () => {
    const { sandbox, folder, ask } = await server();
    const [userId] = sandbox.userIds();
    const policy = nearly(policyKinds, { json: true });
    const description = (redact: fc.Arbitrary<unknown>) =>
      nearly({
        page_size: { right: right(10, 100), wrong: right(9, "10", null, 1.5, {}) },
        part_rows: { right: right(1, 5), wrong: right(0, "1", []) },
        on_invalid: { right: right("fail", "quarantine"), wrong: right("Fail", null) },
        redact: { right: redact, wrong: right(null, [], "ip=drop", 1) },
      }, { fixed: { users: [userId], formats: ["ndjson"] }, json: true });
    const given = fc.option(policy, { nil: undefined, freq: 5 }).chain((policy) =>
      description(fc.constant(policy?.value)).map((description) => ({
        ...description,
        isRight: description.isRight && (!("redact" in description.says) || policy?.isRight === true),
        policy: "redact" in description.says ? policy?.says : undefined,
      }))
    );
    const seen = { right: 0, wrong: 0 };
    await fc.assert(
      fc.asyncProperty(given, async ({ value, isRight, policy }) => {
        seen[isRight ? "right" : "wrong"]++;
        const before = sandbox.counts.total;
        const answer = await ask("POST", "/v1/exports", JSON.stringify(value));
        const said = await answer.json();
        expect([answer.status, said]).toEqual(
          isRight ? [202, expect.objectContaining({ status: "queued" })] : [
            400,
            expect.objectContaining({ detail: expect.stringMatching(/^The export can't be started as /) }),
          ],
        );
        if (!isRight) {
          expect(sandbox.counts.total).toBe(before);
          return;
        }
        const view = await ended(ask, said.id);
        expect(view).toMatchObject({ status: "done", description: JSON.parse(JSON.stringify(value)) });
        const texts = await Promise.all(
          view.parts.map(({ path }) => readFile(join(folder, said.id, "data", path), "utf8")),
        );
        const isShown = policy === undefined || (policy["ip"] ?? "keep") === "keep" ||
          policy["ip"] === "truncate";
        if (isShown) expect(addressesIn(texts.join("")).length).toBeGreaterThan(0);
        else expect(addressesIn(texts.join("").replace(/"user_agent":"[^"]*"/g, ""))).toEqual([]);
      }),
      { numRuns: 40 },
    );
    expect(Math.min(seen.right, seen.wrong)).toBeGreaterThan(3);
  });

  it("every endpoint refuses a parameter that it does not know, in whatever case, and one that is there twice", async () => {
    const { sandbox, ask } = await server();
    const [userId = ""] = sandbox.userIds();
    const document = await (await ask("GET", "/openapi.json")).json();
    const routes = Object.entries<
      Record<string, { parameters?: ReadonlyArray<{ in: string; name: string }> }>
    >(
      document.paths,
    ).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { parameters = [] }]) => ({
        method: method.toUpperCase(),
        path: path.replace("{user_id}", userId).replace("{id}", "20261124T000000000Z-000000000000")
          .replace("{format}", "csv").replace("{name}", "x"),
        names: parameters.filter((parameter) => parameter.in === "query").map(({ name }) => name),
      }))
    );
    expect(routes.length).toBe(17);
    const others = ["/", "/page.css", "/page.js", "/docs", "/openapi.json"].map((path) => ({
      method: "GET",
      path,
      names: [] as ReadonlyArray<string>,
    }));
    const values = { client_id: "a", page_size: "10", allow: "quarantined", limit: "5" } as Record<
      string,
      string
    >;
    values["expect"] = "open";
    values["before"] = "20261124T000000000Z-000000000000";
    const before = sandbox.counts.total;
    for (const { method, path, names } of [...routes, ...others]) {
      const bad = ["redact=ip", "since=2026", "__proto__=1", "constructor=1", "=", "a[b]=c"].concat(
        names.flatMap((name) => [
          `${name.toUpperCase()}=${values[name]}`,
          `${name}s=1`,
          `${name}=${values[name]}&${name}=${values[name]}`,
          `${name}=${values[name]}&x`,
        ]),
      );
      for (const query of bad) {
        const answer = await ask(method, `${path}?${query}`);
        expect([method, path, query, answer.status]).toEqual([method, path, query, 400]);
        const { detail } = await answer.json();
        expect(detail).toMatch(/there is no parameter .*: allowed are|is there twice/);
        for (const name of detail.includes("allowed") ? names : []) expect(detail).toContain(name);
      }
    }
    expect(sandbox.counts.total).toBe(before);
    for (const { method, path } of routes) {
      if (method === "GET" || path === "/v1/exports") continue;
      const answer = await ask(method, path, '{"redact":{"ip":"drop"}}');
      expect([path, answer.status, (await answer.json()).detail]).toEqual([
        path,
        400,
        expect.stringContaining("no body"),
      ]);
    }
    // The same, without what is wrong, is followed.
    expect((await ask("GET", "/v1/exports?limit=5&before=20261124T000000000Z-000000000000")).status).toBe(
      200,
    );
    expect((await ask("GET", "/health?")).status).toBe(200);
  });

  it("a body that is no description, or says a thing twice, is refused in a few words", async () => {
    const { ask } = await server();
    const valid = '"users":"all","formats":["csv"]';
    const long = "x".repeat(1_000_000);
    for (
      const [body, type, words] of [
        [`{${valid},"redact":{"ip":"drop"},"redact":{}}`, undefined, '"redact" is there twice'],
        [`{${valid},"redact":{"ip":"drop","\\u0069p" \n : "keep"}}`, undefined, '"ip" is there twice'],
        [`{${valid},"${long}":1}`, undefined, "there is no option"],
        [`{"users":"${long}","formats":["csv"]}`, undefined, "users"],
        [`{"users":"all","formats":["${long}"]}`, undefined, "is none of ndjson, ndjson.gz"],
        ["[".repeat(100_000) + "]".repeat(100_000), undefined, "deep"],
        [`{${valid},"redact":${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}}`, undefined, "deep"],
        ['"[[[[[[[[[[[["', undefined, "plain object"],
        ["", undefined, "the body is empty"],
        [`{${valid}`, undefined, "no JSON"],
        [`{${valid}}`, "text/plain", "content-type"],
        [`users=all&formats=csv&formats=parquet`, "application/x-www-form-urlencoded", "content-type"],
        ["--x\r\n\r\n--x--", "multipart/form-data; boundary=x", "content-type"],
      ] as const
    ) {
      const answer = await ask("POST", "/v1/exports", body, type);
      const text = await answer.text();
      expect([body.slice(0, 50), answer.status, text]).toEqual([
        body.slice(0, 50),
        400,
        expect.stringContaining(
          JSON.stringify(words).slice(1, -1),
        ),
      ]);
      expect(text.length).toBeLessThan(1500);
    }
  });

  it.each(runtimes)(
    "a body of 100,000 lists in lists is refused on %s, and the server goes on",
    async (runtime) => {
      const { env } = await tenant();
      const served = await serve(runtime, { ...env, WORKER_FOLDER: await newFolder() });
      for (const [open, close] of [["[", "]"], ['{"redact":', "}"]] as const) {
        const body = `${open.repeat(100_000)}1${close.repeat(100_000)}`;
        const answer = await served.ask("/v1/exports", { method: "POST", body });
        expect([answer.status, (await answer.json()).detail]).toEqual([
          400,
          expect.stringContaining("deep"),
        ]);
      }
      expect((await served.ask("/health")).status).toBe(200);
    },
  );
});

it("a redaction under a wrong name is refused by the command, HTTP, the library and a thread, and nothing is asked for", async () => {
  const { sandbox, env } = await tenant();
  const folder = await newFolder();
  const asWritten = ["ip_address", "ip_adress", "IP", "redaction"] as const;
  const export_ = ["export", "--all-users", "--out", join(folder, "s.csv")];
  for (const name of asWritten) {
    const { code, err } = await run([...export_, "--redact", `${name}=drop`], { env });
    expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining(`there is no field "${name}"`) });
    expect(() => Redaction.make({ [name]: "drop" })).toThrow(`there is no field "${name}"`);
  }
  for (const words of [["--redaction", "ip=drop"], ["--redact", "ip=drop", "--redact", "unknown=keep"]]) {
    expect((await run([...export_, ...words], { env })).code).toBe(2);
  }

  const options = { domain: env.MONOCLOUD_DOMAIN, apiKey: sandbox.key, users: "all" as const };
  for (const name of ["redact", "redaction", "redct"]) {
    const { output } = memory("csv");
    const tenant = { domain: options.domain, apiKey: options.apiKey };
    const targets = [{ format: "csv" as const, to: output }];
    const wrong = name === "redact"
      ? { redact: { policy: { ip_address: "drop" } } as never }
      : { [name]: { policy: { ip: "drop" } } };
    const said = name === "redact"
      ? `there is no field "ip_address" in 'redact.policy'`
      : `there is no option "${name}"`;
    expect(() => promise.stream("csv", { ...options, ...wrong })).toThrow(said);
    const thread = Effect.scoped(
      Effect.flatMap(
        Thread.make(spawner().options),
        ({ run }) => run({ tenant, users: "all", targets, ...wrong }),
      ),
    );
    await expect(Effect.runPromise(thread)).rejects.toThrow(said);
  }

  for (const runtime of runtimes) {
    const server = await serve(runtime, { ...env, WORKER_FOLDER: await newFolder() });
    for (
      const redact of [...asWritten.map((name) => ({ redact: { [name]: "drop" } })), {
        redaction: { ip: "drop" },
      }]
    ) {
      const body = JSON.stringify({ users: "all", formats: ["csv"], ...redact });
      const answer = await server.ask("/v1/exports", { method: "POST", body });
      expect([answer.status, (await answer.json()).detail]).toEqual([
        400,
        expect.stringContaining("allowed are"),
      ]);
    }
    expect((await server.ask("/v1/exports?redact=ip", { method: "POST", body: "{}" })).status).toBe(400);
    expect(await (await server.ask("/v1/exports")).json()).toEqual([]);
  }
  expect(sandbox.counts.total).toBe(0);
});
