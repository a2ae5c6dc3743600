/** The log: a line for each request and for each step of an export, which name nobody. */
import * as fc from "fast-check";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { make } from "../../src/sandbox/mod.ts";
import { type LogLine, make as makeServer } from "../../src/server/mod.ts";
import * as Log from "../../src/server/telemetry/Log.ts";
import { begin, intercepted, run, tenant, until } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { bothRuntimes, ended, leaving, serve, type Serving, startExport, stop, token } from "./serving.ts";
import { oneIn } from "../size.ts";

type Line = Readonly<Record<string, unknown>>;

/** Reads a line of `name=value`, of which a value may be JSON's. */
const readText = (line: string): Line => {
  const fields = [...line.matchAll(/(\w+)=("(?:[^"\\]|\\.)*"|[^\s"=]+)(?: |$)/gy)];
  expect(fields.map(([field]) => field).join("")).toBe(line);
  return Object.fromEntries(fields.map(([, name = "", value = ""]) => {
    const text: string = value.startsWith('"') ? JSON.parse(value) : value;
    return [name, /^\d+(\.\d+)?$/.test(text) ? Number(text) : text];
  }));
};

const listening = /^Listening on http:\S+$/;

/** Reads all that a server has said: every line of it can be read. */
const linesOf = ({ running }: Serving, form: string): ReadonlyArray<Line> =>
  running.err().split("\n").slice(0, -1)
    // Deno prints an empty one for each body that is broken off.
    .filter((line) => line !== "" && (form === "json" || !listening.test(line)))
    .map((line) => form === "json" ? JSON.parse(line) : readText(line));

const exportsOf = (lines: ReadonlyArray<Line>, id: string) =>
  lines.filter((line) => line["id"] === id).map(({ message }) => message);

describe.each(bothRuntimes)("on %s", (runtime) => {
  it.each(oneIn(runtime === "Node" ? 1 : 3, ["text", "json", "off"]))(
    "as %s it tells each request once it has ended, and the life of each export, and names nobody",
    async (form) => {
      const sandbox = make({ users: 3, sessionsPerUser: 5000 });
      const [one = "", two = ""] = sandbox.userIds();
      let last = Infinity;
      const { env } = await intercepted(
        sandbox,
        (url) =>
          Number(new URL(url, "http://x").searchParams.get("page")) > last
            ? Response.json({ title: "Forbidden" }, { status: 403 })
            : undefined,
      );
      const server = await serve(runtime, {
        ...env,
        WORKER_FOLDER: await newFolder(),
        MONOCLOUD_RATE: "10000",
        ...(form !== "text" && { WORKER_LOG: form }),
      });
      const planted = ["planted-user", "planted-client", "planted-path", "planted-token"] as const;
      const [noUser, client, path, wrong] = planted;
      await until(async () => (await server.ask("/ready")).ok, "it is ready");
      await server.ask("/metrics");
      const headers = { "accept-encoding": "identity" };
      const csv = await server.ask(`/v1/users/${one}/sessions.csv`, { headers });
      const { length } = new Uint8Array(await csv.arrayBuffer());
      await server.ask(`/v1/users/${noUser}/sessions.csv?client_id=${client}`);
      await server.ask(`/v1/exports?${client}=${client}`);
      await server.ask(`/${path}`);
      await server.ask(`/v1/users/${noUser}`, { method: "PUT" });
      await fetch(`${server.url}/metrics`, { headers: { authorization: `Bearer ${wrong}` } });
      await server.ask("/health", { headers: { cookie: `worker_token=${wrong}` } });

      const leaver = leaving();
      const left = await server.ask(`/v1/users/${two}/sessions.ndjson?page_size=10`, {
        signal: leaver.signal,
        headers,
      });
      const reader = left.body!.getReader();
      await reader.read();
      const ndjson = () => linesOf(server, form).filter(({ route }) => String(route).endsWith("ndjson"));
      expect(ndjson()).toEqual([]);
      leaver.abort();
      await reader.closed.catch(() => {});
      if (form !== "off") await until(() => ndjson().length === 1, "the one that left is told of");
      last = 20;
      const broken = await server.ask(`/v1/users/${two}/sessions.ndjson?page_size=100`, { headers });
      await expect(broken.text()).rejects.toThrow();
      last = Infinity;

      const done = await startExport(server, { users: [one, two], formats: ["csv"] });
      await ended(server, done, "done");
      const failed = await startExport(server, { users: [noUser], formats: ["csv"] });
      await ended(server, failed, "failed");
      await server.ask(`/v1/exports/${failed}/resume`, { method: "POST" });
      await ended(server, failed, "failed");
      await server.ask(`/v1/exports/${failed}?expect=ended`, { method: "DELETE" });
      const cut = await startExport(server, { users: "all", formats: ["csv"], page_size: 10 });
      await server.ask(`/v1/exports/${cut}`, { method: "DELETE" });
      expect(await stop(server)).toMatchObject({ code: 0 });

      const said = server.running.err();
      for (const secret of [sandbox.key, token, ...planted, ...sandbox.userIds()]) {
        expect(said).not.toContain(secret);
      }
      if (form === "off") return expect(said.trim()).toMatch(listening);
      const lines = linesOf(server, form);
      const first = lines.filter(({ message }) => listening.test(String(message)));
      expect(first).toHaveLength(form === "json" ? 1 : 0);
      for (const { time, level } of lines) {
        expect(new Date(String(time)).toISOString()).toBe(time);
        expect(level).toBeOneOf(["INFO", "WARN"]);
      }
      const requests = lines.filter(({ message }) => message === "request");
      for (const { seconds } of requests) expect(seconds).toBeGreaterThanOrEqual(0);
      const told = (wanted: Line) =>
        expect(
          requests.filter((line) => Object.entries(wanted).every(([name, value]) => line[name] === value)),
        )
          .toHaveLength(1);
      const download = { method: "GET", route: "/v1/users/:user_id/sessions.csv" };
      told({ ...download, status: 200, bytes: length, ended: "done", level: "INFO" });
      told({ ...download, status: 404, reason: "ExportError.NoSuchUsers", ended: "done" });
      told({ route: "/v1/exports", status: 400, method: "GET" });
      told({
        status: 404,
        method: "GET",
        level: "INFO",
        reason: undefined as never,
        route: undefined as never,
      });
      told({ status: 404, method: "PUT" });
      told({ route: "/metrics", status: 401 });
      const ndjsonLines = requests.filter(({ route }) => route === "/v1/users/:user_id/sessions.ndjson");
      expect(ndjsonLines).toMatchObject([
        { status: 200, ended: "client_closed", level: "INFO" },
        { status: 200, ended: "aborted", reason: "ApiError.Forbidden", level: "WARN" },
      ]);
      for (const { bytes } of ndjsonLines) expect(bytes).toBeGreaterThan(0);
      told({ method: "DELETE", route: "/v1/exports/:id", status: 204, bytes: 0 });
      const probes = requests.filter(({ route, status }) =>
        ["/health", "/ready", "/metrics"].includes(String(route)) && Number(status) < 400
      );
      expect(probes).toEqual([]);

      expect(exportsOf(lines, done)).toEqual(["export queued", "export started", "export done"]);
      expect(lines.find(({ message }) => message === "export done")).toMatchObject({
        ...{ id: done, users: 2, sessions: 10_000, failed: 0, missing: 0, unverified: 0, quarantined: 0 },
        seconds: expect.any(Number),
      });
      const run = ["export started", "export failed"];
      expect(exportsOf(lines, failed)).toEqual([
        ...["export queued", ...run, "export resumed", ...run, "export removed"],
      ]);
      expect(lines.find(({ message }) => message === "export failed")).toMatchObject({
        reason: "ExportError.NoSuchUsers",
        level: "WARN",
      });
      expect(exportsOf(lines, cut)).toEqual(["export queued", "export started", "export cancelled"]);
    },
  );

  it("an export that a stop interrupts is told of, and that the next server resumes it", async () => {
    const { env } = await tenant({ users: 100 });
    const settings = { ...env, WORKER_FOLDER: await newFolder(), MONOCLOUD_RATE: "50" };
    const first = await serve(runtime, settings);
    const id = await startExport(first, { users: "all", formats: ["csv"] });
    await until(() => exportsOf(linesOf(first, "text"), id).length === 2, "it runs");
    await stop(first);
    expect(exportsOf(linesOf(first, "text"), id).at(-1)).toBe("export interrupted");
    const next = await serve(runtime, { ...settings, MONOCLOUD_RATE: "1000" });
    await until(async () => (await next.ask("/ready")).ok, "it is ready");
    await ended(next, id, "done");
    await until(() => exportsOf(linesOf(next, "text"), id).length === 3, "it is told of");
    expect(exportsOf(linesOf(next, "text"), id)).toEqual(["export resumed", "export started", "export done"]);
  });
});

it("the command's --log goes before WORKER_LOG, and both are one of three words", async () => {
  const { env } = await tenant();
  const served = begin(["serve", "--port", "0", "--log", "json"], { env: { ...env, WORKER_LOG: "off" } });
  await until(() => served.err().includes("\n"), "it listens");
  expect(JSON.parse(served.err()).message).toMatch(listening);
  served.kill("SIGTERM");
  await served.done;
  const flag = await run(["serve", "--port", "0", "--log", "xml"], { env });
  expect(flag).toMatchObject({ code: 2, err: expect.stringContaining("--log must be text or json or off") });
  const variable = await run(["serve", "--port", "0"], { env: { ...env, WORKER_LOG: "xml" } });
  expect(variable).toMatchObject({
    code: 2,
    err: expect.stringContaining("WORKER_LOG must be one of text, json, off"),
  });
});

describe("make()", () => {
  const sandbox = make({ users: 1 });
  const serverOf = async (log?: (line: LogLine) => void) => {
    const { fetch, stop } = await makeServer({
      ...{ domain: "sandbox.example", apiKey: sandbox.key, token, log },
      fetch: (input, init) => sandbox.fetch(new Request(input, init)),
    });
    onTestFinished(stop);
    const headers = { authorization: `Bearer ${token}` };
    return (path: string) => fetch(new Request(`http://localhost${path}`, { headers }));
  };

  it("logs nothing of itself, and gives each line to a function that it is given", async () => {
    const printed = [vi.spyOn(console, "error"), vi.spyOn(console, "log"), vi.spyOn(process.stderr, "write")];
    onTestFinished(() => printed.forEach((spy) => spy.mockRestore()));
    const [userId = ""] = sandbox.userIds();
    const silent = await serverOf();
    await (await silent(`/v1/users/${userId}/sessions.csv`)).text();
    const lines: Array<LogLine> = [];
    const ask = await serverOf((line) => lines.push(line));
    const { byteLength } = await (await ask(`/v1/users/${userId}/sessions.csv`)).arrayBuffer();
    expect(lines).toEqual([{
      time: expect.any(String),
      level: "INFO",
      ...{ message: "request", method: "GET", route: "/v1/users/:user_id/sessions.csv" },
      ...{ status: 200, bytes: byteLength, seconds: expect.any(Number), ended: "done" },
    }]);
    for (const spy of printed) expect(spy).not.toHaveBeenCalled();
  });

  it("answers all the same where that function throws", async () => {
    const ask = await serverOf(() => {
      throw new Error("full");
    });
    expect((await ask("/v1/exports")).status).toBe(503);
  });
});

it("a line is one line, and reads back, whatever it tells", () => {
  const text = fc.string({ unit: "binary", minLength: 1 });
  const printed = vi.spyOn(console, "error").mockImplementation(() => {});
  onTestFinished(() => printed.mockRestore());
  fc.assert(fc.property(text, text, (message, reason) => {
    const line = { time: "2026-11-24T06:15:00.000Z", level: "INFO", message, reason, status: 200 } as const;
    for (const form of ["text", "json"] as const) {
      printed.mockClear();
      Log.print[form](line);
      const [[said]] = printed.mock.calls as [[string]];
      expect(said).not.toMatch(/[\p{Cc}\p{Cf}\p{DI}\p{Zl}\p{Zp}]/u);
      const read = form === "json" ? JSON.parse(said) : readText(said);
      expect(read).toMatchObject({ level: "INFO", status: 200 });
    }
  }));
});
