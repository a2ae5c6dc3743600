/** Every error is a problem document (RFC 9457), whichever part of the server gives it. */
import { request } from "node:http";
import { connect } from "node:net";
import * as HttpServerRequest from "@effect/platform/HttpServerRequest";
import * as HttpServerResponse from "@effect/platform/HttpServerResponse";
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Schema from "effect/Schema";
import * as fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import { make } from "../../src/sandbox/mod.ts";
import * as Responses from "../../src/server/handlers/Responses.ts";
import * as Problem from "../../src/server/Problem.ts";
import * as Trace from "../../src/server/telemetry/Trace.ts";
import { intercepted, start, tenant } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { ended, runtimes, serve, type Serving, startExport, token } from "./serving.ts";

const decode = Schema.decodeUnknownSync(Schema.parseJson(Problem.Problem), { onExcessProperty: "error" });

/** All that ends a line somewhere. */
const endsLine = /[\n\v\f\r\x85\u2028\u2029]/;

const kindsOf = (): ReadonlyArray<string> =>
  (Problem.Problem.ast as unknown as { readonly types: ReadonlyArray<never> }).types.map((ast) =>
    Schema.decodeUnknownSync(Schema.make<Problem.Problem>(ast))(
      (ast as { annotations: Record<symbol, ReadonlyArray<unknown>> })
        .annotations[Symbol.for("effect/annotation/Examples")]![0],
    ).type
  );

/** Checks an answer, and gives its type. */
const check = (
  what: string,
  { status, type, text }: {
    readonly status: number;
    readonly type: string | null | undefined;
    readonly text: string;
  },
): string => {
  expect([what, type]).toEqual([what, Problem.contentType]);
  const problem = decode(text);
  expect([what, problem.status]).toEqual([what, status]);
  expect(problem.detail).not.toMatch(endsLine);
  expect(text).not.toContain(token);
  return problem.type;
};

const checkAnswer = async (what: string, answer: Response): Promise<string> =>
  check(what, {
    status: answer.status,
    type: answer.headers.get("content-type"),
    text: await answer.text(),
  });

interface Document {
  readonly paths: Readonly<
    Record<string, Readonly<Record<string, { readonly responses: Readonly<Record<string, unknown>> }>>>
  >;
}

const methods = ["get", "post", "put", "patch", "delete"];

/** Sends what `fetch` refuses to send. */
const raw = ({ url }: Serving, method: string, path: string, headers: Record<string, string>) =>
  new Promise<{ status: number; type: string | undefined; text: string }>((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const sent = request({ hostname, port, path, method, headers }, async (response) => {
      const text = Buffer.concat(await response.toArray()).toString();
      resolve({ status: response.statusCode!, type: response.headers["content-type"], text });
    });
    sent.on("error", reject);
    onTestFinished(() => void sent.destroy());
    if (method === "POST") sent.flushHeaders();
    else sent.end();
  });

const authorization = `Bearer ${token}`;

it("any message gives one line, whatever it holds", () => {
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(fc.constantFrom("a", "\n", "\r\n", "\u2028", "\x85", "\x1b[2J", "\u202e", "\ud800", '"'), {
      maxLength: 20,
    }).map((pieces) => pieces.join("")),
  );
  const kind = fc.constantFrom(...kindsOf().map((type) => type.split(":").at(-1) as Problem.Kind));
  fc.assert(fc.property(kind, text, (kind, text) => {
    const { detail } = decode(JSON.stringify(Problem.make(kind, text)));
    expect(detail).not.toMatch(endsLine);
    expect(detail).not.toMatch(/[\p{Cc}\p{Cf}\p{DI}]/u);
    expect(detail.length).toBeGreaterThan(0);
    const [head = "", body = ""] = Problem.raw(kind, text).split("\r\n\r\n");
    expect(decode(body).detail).toBe(detail);
    expect(head).toContain(`content-length: ${Buffer.byteLength(body)}\r\n`);
  }));
});

describe.each(runtimes)("on %s", (runtime) => {
  it(
    "every route gives each of its errors as a problem, and so does the server for what has no route",
    async () => {
      const sandbox = make({ users: 3 });
      let isRefused = false;
      const { env } = await intercepted(
        sandbox,
        () => isRefused ? Response.json({ title: "Un\nauthorized" }, { status: 401 }) : undefined,
      );
      const [userId = ""] = sandbox.userIds();
      const server = await serve(runtime, {
        ...env,
        WORKER_FOLDER: await newFolder(),
        WORKER_REQUEST_SECONDS: "1",
        WORKER_STREAMS: "1",
        MONOCLOUD_RATE: "1000",
      });
      const seen = new Set<string>();
      const expectProblem = async (what: string, answer: Response | Promise<Response>, status: number) => {
        const found = await answer;
        expect([what, found.status]).toEqual([what, status]);
        seen.add(await checkAnswer(what, found));
      };
      const document: Document = await (await fetch(`${server.url}/openapi.json`)).json();
      for (const [template, known] of Object.entries(document.paths)) {
        const path = template.replace("{user_id}", userId).replace("{format}", "csv").replace("{name}", "x")
          .replace("{id}", "20261124T000000000Z-000000000000");
        for (const [method, { responses }] of Object.entries(known)) {
          const what = `${method} ${template}`;
          const body = method === "post" && path === "/v1/exports" ? { body: "{}" } : {};
          const init = { method: method.toUpperCase(), ...body };
          await expectProblem(what, server.ask(`${path}?no_such=1`, init), 400);
          if ("401" in responses && path !== "/v1/session") {
            await expectProblem(what, fetch(`${server.url}${path}`, init), 401);
          }
          if (path !== "/health" && path !== "/ready") {
            const headers = { "sec-fetch-site": "cross-site", authorization };
            seen.add(
              check(what, await raw(server, init.method, path, { ...headers, "content-length": "0" })),
            );
          }
          if (template.includes("{id}")) {
            await expectProblem(what, server.ask(path, init), 404);
            await expectProblem(
              what,
              server.ask(path.replace("20261124T000000000Z-000000000000", "no%0Aid"), init),
              400,
            );
          }
          if (template.includes("{user_id}")) {
            await expectProblem(what, server.ask(path.replace(userId, "nobody"), init), 404);
            await expectProblem(what, server.ask(path.replace(userId, "a%0Ab"), init), 400);
            await expectProblem(what, server.ask(`${path}?page_size=x%0Ay`, init), 400);
            isRefused = true;
            await expectProblem(what, server.ask(path, init), 502);
            isRefused = false;
          }
        }
        for (const method of methods.filter((method) => !(method in known))) {
          const answer = await server.ask(path, { method: method.toUpperCase() });
          expect([method, path, answer.headers.get("allow")]).toEqual([
            method,
            path,
            Object.keys(known).map((name) => name.toUpperCase()).sort().join(", "),
          ]);
          await expectProblem(`${method} ${path}`, answer, 405);
        }
      }
      for (const path of ["/nowhere", "/v1", "/%0A", "/v1/exports/a/b/c/d", "/%zz"]) {
        const answer = await server.ask(path);
        expect([path, answer.status]).toEqual([path, expect.toBeOneOf([400, 404])]);
        seen.add(await checkAnswer(path, answer));
      }
      for (
        const body of ["{", "{}", '{"users":[],"formats":["csv"]}', '{"users":["a\\nb"],"formats":["x\\ny"]}']
      ) {
        await expectProblem(body, server.ask("/v1/exports", { method: "POST", body }), 400);
      }
      const post = (headers: Record<string, string>) =>
        raw(server, "POST", "/v1/exports", { authorization, "content-type": "application/json", ...headers });
      for (const headers of [{ "transfer-encoding": "chunked" }, { "content-length": "99999999" }]) {
        seen.add(check("411, 413", await post(headers)));
      }
      seen.add(check("408", await post({ "content-length": "100" })));

      const id = await startExport(server, { users: "all", formats: ["csv"] });
      await ended(server, id, "done");
      await expectProblem("resume", server.ask(`/v1/exports/${id}/resume`, { method: "POST" }), 409);
      const held = await serve(runtime, {
        ...(await tenant({ users: 100 })).env,
        WORKER_FOLDER: await newFolder(),
        WORKER_STREAMS: "1",
        MONOCLOUD_RATE: "1",
      });
      const running = await startExport(held, { users: "all", formats: ["csv"] });
      const watching = await held.ask(`/v1/exports/${running}/events`);
      await expectProblem("watch", held.ask(`/v1/exports/${running}/events`), 429);
      await watching.body!.cancel();
      const folderless = await serve(runtime, { ...env, WORKER_TOKEN: "" });
      await expectProblem("no folder", fetch(`${folderless.url}/v1/exports`), 503);

      if (runtime === "Node") {
        const curl = ["-sS", "-0", "-w", "\n%{http_code} %{content_type}", `${server.url}/v1/exports`];
        const { out } = await start("curl", ["-H", `Authorization: ${authorization}`, ...curl]).done;
        const [text = "", last = ""] = out.split("\n");
        const [status, type] = last.split(" ");
        seen.add(check("505", { status: Number(status), type, text }));
      }
      // The last two are Node's to give, and nobody can ask for a fault.
      const others = runtime === "Node" ? ["headers-too-large", "internal"] : [
        ...["headers-too-large", "internal", "http-version"],
      ];
      const missing = kindsOf().filter((type) => !seen.has(type)).map((type) => type.split(":").at(-1));
      expect(missing.sort()).toEqual(others.sort());
      expect(server.running.err()).not.toContain(token);
    },
    120_000,
  );
});

/** Sends a text as it is, and gives all that comes back. */
const said = ({ url }: Serving, text: string) =>
  new Promise<{ readonly status: number; readonly type: string | undefined; readonly body: string }>(
    (resolve, reject) => {
      const { hostname, port } = new URL(url);
      const socket = connect(Number(port), hostname, () => socket.write(text));
      let heard = "";
      socket.on("data", (chunk) => (heard += chunk));
      socket.on("error", reject).on("close", () => {
        const [head = "", body = ""] = heard.split("\r\n\r\n");
        const status = Number(/^HTTP\/1\.1 (\d+) /.exec(head)?.[1]);
        resolve({ status, type: /^content-type: (.*)$/im.exec(head)?.[1]?.trim(), body });
      });
    },
  );

it.each(runtimes)("whatever path, query and Host are sent to %s, an error is a problem", async (runtime) => {
  const { env } = await tenant();
  const server = await serve(runtime, env);
  const piece = fc.constantFrom(
    ...[
      "/",
      "//",
      "[",
      "]",
      "@",
      ":",
      "?",
      "&",
      "=",
      "#",
      "%",
      "%zz",
      "%0a",
      "%00",
      "..",
      ".",
      "*",
      "\\",
      "|",
    ],
    ...[
      "v1",
      "exports",
      "users",
      "sessions.csv",
      "health",
      "docs",
      "limit",
      "page_size",
      "x",
      "99999",
      "{",
      "^",
    ],
  );
  const text = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(""));
  const host = fc.oneof(fc.constant("x"), text.map((text) => text.replaceAll(" ", "")));
  await fc.assert(
    fc.asyncProperty(text, host, async (path, host) => {
      const head = [`GET /${path} HTTP/1.1`, `host: ${host}`, `authorization: ${authorization}`];
      const { status, type, body } = await said(server, [...head, "connection: close", "", ""].join("\r\n"));
      // Deno answers by itself what it can't read.
      if (status < 400 || (runtime === "Deno" && status === 400 && body === "")) return;
      check(path, { status, type, text: body });
    }),
    { numRuns: 300 },
  );
  for (const line of server.running.err().split("\n").slice(1)) expect(line).toMatch(/^(time=.*)?$/);
});

it("what Node can't read as a request is answered with a problem", async () => {
  const { env } = await tenant();
  const server = await serve("Node", { ...env, WORKER_REQUEST_SECONDS: "1" });
  const cases = [
    ["no request\r\n\r\n", "invalid-request"],
    ["GET /health HTTP/1.1\r\nhost: x\r\nno header\r\n\r\n", "invalid-request"],
    [`GET /health HTTP/1.1\r\nhost: x\r\nx: ${"a".repeat(20_000)}\r\n\r\n`, "headers-too-large"],
    ["GET /health HTTP/1.1\r\nhost: x\r\n", "request-timeout"],
    ["GET /health HTTP/1.1\r\nconnection: close\r\n\r\n", "invalid-request"],
    ["GET /x HTTP/1.1\r\nhost: x\r\nexpect: more\r\nconnection: close\r\n\r\n", "not-found"],
    ["TRACE /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "not-found"],
  ] as const;
  for (const [text, kind] of cases) {
    const { status, type, body } = await said(server, text);
    expect(check(kind, { status, type, text: body })).toBe(`urn:monocloud-sessions:problem:${kind}`);
  }
  expect((await server.ask("/health")).status).toBe(200);
});

it("a fault is answered with 500 in the same words, and named without a word of its own, whatever it says", async () => {
  const secret = "secret-of-u1";
  const words = fc.tuple(
    fc.string({ unit: "binary" }),
    fc.constantFrom("", "\n    at ", "\nError: "),
    fc.string({ unit: "binary" }),
  ).map(([before, between, after]) => `${before}${between}${secret}${after}`);
  await fc.assert(fc.asyncProperty(words, fc.constantFrom(TypeError, Error), async (message, Fault) => {
    const error = new Fault(message);
    expect(Trace.about(error)).toEqual({ reason: error.name, at: expect.stringContaining("problem.test") });
    expect(JSON.stringify(Trace.about(error))).not.toContain(secret);
    const asked = HttpServerRequest.fromWeb(new Request("http://localhost/"));
    const answer = await Effect.runPromise(
      Effect.provideService(Responses.ofCause(Cause.die(error)), HttpServerRequest.HttpServerRequest, asked),
    );
    const given = HttpServerResponse.toWeb(answer);
    expect(await checkAnswer("fault", given)).toBe("urn:monocloud-sessions:problem:internal");
  }));
});
