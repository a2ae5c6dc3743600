/** Who gets what of the server, on both runtimes. */
import { readdir } from "node:fs/promises";
import { request } from "node:http";
import { describe, expect, it } from "vitest";
import { begin, run, tenant } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import {
  bothRuntimes,
  leaving,
  type Runtime,
  runtimes,
  serve,
  type Serving,
  stop,
  token,
} from "./serving.ts";

/** Sends a path as it is: `fetch` would tidy it up. */
const raw = (
  { url }: Serving,
  path: string,
  { method = "GET", headers = {}, body }: {
    readonly method?: string;
    readonly headers?: Record<string, string>;
    readonly body?: string;
  } = {},
) =>
  new Promise<{ readonly status: number; readonly text: string }>((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const sent = request({ hostname, port, path, method, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk) => (text += chunk));
      response.on("end", () => resolve({ status: response.statusCode!, text }));
    });
    sent.on("error", reject);
    sent.end(body);
  });

const authorized = { authorization: `Bearer ${token}` };

/** The part of an OpenAPI document that says which routes there are. */
interface Document {
  readonly paths: Readonly<
    Record<string, Readonly<Record<string, { readonly requestBody?: unknown; readonly responses: object }>>>
  >;
}

/** A request to a route, and what it answers to who may use it. */
interface Ask {
  readonly route: string;
  readonly path: string;
  readonly init: RequestInit;
  readonly status: number;
}

/** Makes a request to each route that the server describes. */
const requestsOf = ({ paths }: Document, userId: string): ReadonlyArray<Ask> =>
  Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([name, { requestBody, responses }]) => {
      const method = name.toUpperCase();
      const description = JSON.stringify({ users: [userId], formats: ["csv"] });
      const success = Object.keys(responses).find((status) => status.startsWith("2"));
      return {
        route: `${method} ${path}`,
        path: path.replace("{user_id}", userId).replace("{id}", "20261124T000000000Z-000000000000")
          .replace(/\{\w+\}/g, "x"),
        init: { method, ...(requestBody !== undefined && { body: description }) },
        // There is no such export.
        // There are no exports, and there is no queue of many machines.
        status: path.includes("{id}") || path === "/v1/machines" ? 404 : Number(success),
      };
    })
  );

/** The routes that the server describes and that want no token; any other does. */
const openRoutes = ["GET /health", "GET /ready", "DELETE /v1/session"];

/** The paths that it does not describe. */
const openPaths = ["/", "/page.js", "/page.css", "/docs", "/openapi.json"];

/** Headers by which proxies tell whose request they pass on. */
const ofProxies = [
  ...[
    "forwarded",
    "via",
    "x-real-ip",
    "x-forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
  ],
  ...["cf-connecting-ip", "cf-connecting-ipv6", "cf-ray", "cf-visitor", "cdn-loop", "true-client-ip"],
  ...[
    "fastly-client-ip",
    "fastly-ff",
    "x-client-ip",
    "x-cluster-client-ip",
    "client-ip",
    "x-remote-addr",
    "x-remote-ip",
  ],
  ...["x-original-forwarded-for", "x-original-host", "x-original-url", "x-originating-ip", "x-rewrite-url"],
  ...[
    "x-envoy-external-address",
    "x-azure-clientip",
    "fly-client-ip",
    "do-connecting-ip",
    "x-appengine-user-ip",
  ],
  ...[
    "x-nf-client-connection-ip",
    "proxy-client-ip",
    "wl-proxy-client-ip",
    "x-proxyuser-ip",
    "ali-cdn-real-ip",
  ],
  ...["x-amzn-trace-id", "x-vercel-id", "incap-client-ip", "x-user-ip", "remote-addr", "x-ip", "x_real_ip"],
];

describe.each(bothRuntimes)("on %s", (runtime: Runtime) => {
  it("every route that tells or does something wants the token, and the others do not", async () => {
    const { sandbox, env } = await tenant();
    const [userId = ""] = sandbox.userIds();
    const server = await serve(runtime, { ...env, WORKER_FOLDER: await newFolder() });
    const document: Document = await (await fetch(`${server.url}/openapi.json`)).json();
    const requests = requestsOf(document, userId);
    const routes = requests.map(({ route }) => route);
    const known = ["GET /metrics", "POST /v1/exports", "POST /v1/exports/{id}/resume"];
    expect(routes).toEqual(expect.arrayContaining([...known, ...openRoutes]));
    for (const { route, path, init, status } of requests) {
      const isOpen = openRoutes.includes(route);
      const wrong = ["", "Bearer wrong-but-just-as-long", "Basic x"];
      for (const authorization of wrong) {
        const headers = { "content-type": "application/json", ...(authorization && { authorization }) };
        const answer = await fetch(`${server.url}${path}`, { ...init, headers });
        expect([route, answer.status]).toEqual([route, isOpen ? status : 401]);
        if (!isOpen) expect(answer.headers.get("www-authenticate")).toBe("Bearer");
        expect(await answer.text()).not.toContain(token);
      }
      const answer = await server.ask(path, init);
      expect([route, answer.status]).toEqual([route, status]);
      await answer.body?.cancel();
    }
    for (const path of openPaths) {
      const answer = await fetch(`${server.url}${path}`);
      expect([path, answer.status]).toEqual([path, 200]);
      await answer.arrayBuffer();
    }
    expect((await server.ask("/nowhere")).status).toBe(404);
    expect(server.running.err()).not.toContain(token);
  });

  it("no id reaches another path of the tenant, or of the disk", async () => {
    const { env, sandbox } = await tenant();
    const folder = await newFolder();
    const server = await serve(runtime, { ...env, WORKER_FOLDER: folder });
    const ids = [
      ...[
        "../x",
        "a/b",
        "..",
        ".",
        "%2e%2e",
        "%2e",
        "..%2fx",
        "a%2Fb",
        "a%5cb",
        "a%00b",
        "a%0d%0ab",
        "%20",
        "%zz",
      ],
      ...["%ff", "%ed%a0%80", "", "a".repeat(201), "....//x", "%252e%252e%252fx".repeat(20)],
    ];
    const before = sandbox.counts.total;
    // These name no export, but the list: it is what is left of the path, where dots are tidied up.
    const lists = runtime === "Node" ? ["", ".", "%2e"] : [""];
    for (const id of ids) {
      const { status, text } = await raw(server, `/v1/users/${id}/sessions.ndjson`, { headers: authorized });
      expect([id, [400, 404].includes(status), text.length < 2000]).toEqual([id, true, true]);
      for (const path of [`${id}`, `${id}/manifest.json`, `${id}/csv/part-00000.csv`]) {
        const { status } = await raw(server, `/v1/exports/${path}`, { headers: authorized });
        expect([path, status]).toEqual([path, lists.includes(path) ? 200 : expect.toBeOneOf([400, 404])]);
      }
    }
    expect(sandbox.counts.total).toBe(before);

    const id = (await (await server.ask("/v1/exports", {
      method: "POST",
      body: JSON.stringify({ users: "all", formats: ["csv"] }),
    })).json()).id;
    for (
      const path of [
        ...[
          "../job.json",
          "..%2fjob.json",
          "csv/..%2f..%2fjob.json",
          "%2e%2e/job.json",
          "data/lock.json",
          "csv/x",
        ],
        ...["..%5cjob.json", "cursors/part-00000.ndjson", "journal.ndjson", "csv/part-00000.csv%00"],
      ]
    ) {
      const { status } = await raw(server, `/v1/exports/${id}/${path}`, { headers: authorized });
      expect([path, status]).toEqual([path, status === 400 ? 400 : 404]);
    }
    // One that is well formed, but for what is special in a URL, reaches the tenant as this id alone.
    for (const odd of ["auth0|x", "a%3Fb", "a%23b", "ü", "a&b=c", "a;b", "%252e%252e"]) {
      const { status } = await raw(server, `/v1/users/${encodeURI(decodeURI(odd))}/sessions.csv`, {
        headers: authorized,
      });
      expect([odd, status]).toEqual([odd, 404]);
    }
    expect((await readdir(folder)).filter((name) => !name.includes("lock"))).toEqual([id]);
  });
});

describe.each(runtimes)("on %s", (runtime: Runtime) => {
  it("what is too long is refused, and the server goes on", async () => {
    const { env } = await tenant();
    const server = await serve(runtime, { ...env, WORKER_FOLDER: await newFolder() });
    const long = "a".repeat(1_000_000);
    const sent = await raw(server, `/v1/users/${long}/sessions.csv`, { headers: authorized })
      .then(({ status }) => status, (error) => error.code);
    expect(sent).toBeOneOf([400, 414, 431, "ECONNRESET", "EPIPE"]);
    const heavy = await raw(server, "/v1/exports", { headers: { ...authorized, "x-filler": long } })
      .then(({ status }) => status, (error) => error.code);
    expect(heavy).toBeOneOf([400, 431, "ECONNRESET", "EPIPE"]);
    const users = Array.from({ length: 20 }, () => "u".repeat(1_000_000));
    const large = await server.ask("/v1/exports", {
      method: "POST",
      body: JSON.stringify({ users, formats: ["csv"] }),
    })
      .then(({ status }) => status, () => "broken off");
    expect(large).toBeOneOf([413, "broken off"]);
    const leaver = leaving();
    const endless = await server.ask("/v1/exports", {
      method: "POST",
      body: new ReadableStream({
        // Node's fetch reads on once the request is refused or aborted: without a pause it would do nothing else for ever.
        pull: async (controller) => {
          await new Promise((resume) => setImmediate(resume));
          if (leaver.signal.aborted) controller.close();
          else controller.enqueue(new Uint8Array(65_536));
        },
      }),
      duplex: "half",
      signal: leaver.signal,
    } as RequestInit).then(({ status }) => status, () => "broken off");
    leaver.abort();
    expect(endless).toBeOneOf([411, "broken off"]);
    // However the path is spelled: the router takes all of these for the same one.
    for (const path of ["/v1/exports/", "/V1/exports", "//v1/exports", "/v1/export%73"]) {
      const headers = { ...authorized, "content-type": "application/json", "transfer-encoding": "chunked" };
      const { status } = await raw(server, path, { method: "POST", headers, body: "{" });
      expect([path, status]).toEqual([path, 411]);
    }
    // Curl sends no length for a body that it does not have.
    const { status } = await raw(server, "/v1/exports/20261124T000000000Z-000000000000/resume", {
      method: "POST",
      headers: authorized,
    });
    expect(status).toBe(404);
    for (
      const description of [{}, { users: "all" }, { users: [], formats: ["csv"] }, {
        users: "all",
        formats: ["xls"],
      }]
    ) {
      const answer = await server.ask("/v1/exports", { method: "POST", body: JSON.stringify(description) });
      expect(answer.status).toBe(400);
    }
    expect((await server.ask("/v1/exports", { method: "POST", body: "{" })).status).toBe(400);
    expect((await server.ask("/health")).status).toBe(200);
  });

  it("HEAD walks no list, however its path is spelled", async () => {
    const { sandbox, env } = await tenant();
    const [userId = ""] = sandbox.userIds();
    const server = await serve(runtime, env);
    const path = `/v1/users/${userId}/sessions.csv`;
    for (
      const spelled of [
        path,
        `/${path}`,
        `${path}/`,
        path.replace("users", "USERS"),
        path.replace("v1", "%761"),
      ]
    ) {
      const { status } = await raw(server, spelled, { method: "HEAD", headers: authorized });
      expect([spelled, status]).toEqual([spelled, 405]);
    }
    expect(sandbox.counts.total).toBe(0);
  });

  it("without a token only this machine is served, by its own name, and no page of another site", async () => {
    const { sandbox, env } = await tenant();
    const [userId = ""] = sandbox.userIds();
    const server = await serve(runtime, { ...env, WORKER_TOKEN: "" });
    const path = `/v1/users/${userId}/sessions.csv`;
    expect((await raw(server, path)).status).toBe(200);
    expect((await raw(server, path, { headers: { host: "evil.example" } })).status).toBe(403);
    expect((await raw(server, path, { headers: { "sec-fetch-site": "cross-site" } })).status).toBe(403);
    expect((await raw(server, path, { headers: { origin: "https://evil.example" } })).status).toBe(403);
    // What a proxy on this machine passes on comes from anywhere.
    for (const name of ofProxies) {
      const { status, text } = await raw(server, path, { headers: { [name]: "203.0.113.7" } });
      expect([name, status, text]).toEqual([name, 403, expect.stringContaining("set WORKER_TOKEN")]);
    }
    // What browsers and programs send is from no proxy.
    const ordinary = [
      "accept",
      "accept-language",
      "dnt",
      "priority",
      "sec-ch-ua",
      "traceparent",
      "x-request-id",
      "zip",
    ];
    for (const name of ordinary) {
      expect([name, (await raw(server, path, { headers: { [name]: "1" } })).status]).toEqual([name, 200]);
    }
    expect((await raw(server, path, { headers: { "sec-fetch-site": "same-origin" } })).status).toBe(200);
    expect((await raw(server, "/v1/exports")).status).toBe(503);
  });

  it.each([token, 'odd;"token%41,=+/'])(
    "the page's cookie opens what the token %s opens, until it is taken back",
    async (own) => {
      const { env } = await tenant();
      const server = await serve(runtime, { ...env, WORKER_FOLDER: await newFolder(), WORKER_TOKEN: own });
      const signedIn = await server.ask("/v1/session", { method: "POST" });
      const cookie = signedIn.headers.get("set-cookie") ?? "";
      expect(cookie).toMatch(/HttpOnly; SameSite=Strict; Path=\//);
      const headers = { cookie: cookie.split(";")[0]! };
      expect((await fetch(`${server.url}/v1/exports`, { headers })).status).toBe(200);
      expect((await fetch(`${server.url}/v1/exports`, { headers: { cookie: "worker_token=x" } })).status)
        .toBe(
          401,
        );
      expect(
        (await raw(server, "/v1/exports", { headers: { ...headers, origin: "https://evil.example" } }))
          .status,
      ).toBe(403);
      const signedOut = await fetch(`${server.url}/v1/session`, { method: "DELETE" });
      expect(signedOut.headers.get("set-cookie")).toContain("Max-Age=0");
    },
  );

  it("says of everything that is wrong with its environment what to do, and does not begin", async () => {
    const begun = serve(runtime, {
      MONOCLOUD_DOMAIN: "http://127.0.0.1:1",
      WORKER_TOKEN: "short",
      WORKER_QUEUE: "many",
      MONOCLOUD_RATE: "0",
    });
    await expect(begun).rejects.toThrow(
      /MONOCLOUD_API_KEY is not set.*MONOCLOUD_RATE must be.*WORKER_TOKEN must have 16.*WORKER_QUEUE/,
    );
  });
});

it("listens without a token on loopback alone", async () => {
  const { env } = await tenant();
  const { code, err } = await run(["serve", "--host", "0.0.0.0", "--port", "0"], { env });
  expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining("set WORKER_TOKEN") });
});

it("says that its port is taken", async () => {
  const { env } = await tenant();
  const server = await serve("Node", env);
  const second = begin(["serve", "--port", new URL(server.url).port], { env });
  const { code, err } = await second.done;
  expect({ code, err }).toEqual({
    code: 2,
    err: expect.stringContaining("Cannot listen on 127.0.0.1, port"),
  });
  expect(await stop(server)).toMatchObject({ code: 0 });
});
