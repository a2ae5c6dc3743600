/** The handler as those who do not write Effect get it. */
import { describe, expect, it, onTestFinished } from "vitest";
import { make as makeSandbox } from "../../src/sandbox/mod.ts";
import { make, type ServerSettings } from "../../src/server/mod.ts";

const token = "a-token-that-is-long-enough";

const settingsOf = () => {
  const sandbox = makeSandbox({ users: 1, sessionsPerUser: 5 });
  const fetch: typeof globalThis.fetch = (input, init) => sandbox.fetch(new Request(input, init));
  return { sandbox, settings: { domain: "sandbox.example", apiKey: sandbox.key, fetch } };
};

const ask = (path: string, headers: Readonly<Record<string, string>> = {}) =>
  new Request(`http://localhost${path}`, { headers: { host: "localhost", ...headers } });

describe("make()", () => {
  it.each<readonly [Partial<ServerSettings>, string]>([
    [{ token: "short" }, "'token' must have 16 characters or more"],
    [{ exports: 0 }, "'exports' must be a whole number from 1 to 100"],
    [{ idleSeconds: 0.5, queue: -1 }, "'queue' must be a whole number from 0 to 10000"],
    [{ rate: 0 }, "'rate' must be a number of requests a second"],
    [{ redactSecret: "short" }, "'redactSecret' can't be used"],
    [{ domain: "http://a.example" }, "http"],
  ])("refuses %j, in words that name the setting", async (wrong, said) => {
    const { settings } = settingsOf();
    const error = await make({ ...settings, ...wrong }).catch((error) => error);
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toMatch(/^Cannot make a server: /);
    expect(error.message).toContain(said);
    expect(error.message).not.toMatch(/WORKER_|MONOCLOUD_/);
    expect(error.message).not.toContain(settings.apiKey);
  });

  it("refuses a setting that there is not", async () => {
    const { settings } = settingsOf();
    await expect(make({ ...settings, port: 80 } as never)).rejects.toThrow('there is no option "port"');
    await expect(make({ domain: "a.example" } as never)).rejects.toThrow("'apiKey' must be given");
  });

  it("serves callers on the same machine without a token, and no others", async () => {
    const { settings } = settingsOf();
    const { fetch, stop } = await make(settings);
    onTestFinished(stop);
    expect((await fetch(ask("/health"), { remoteAddr: { hostname: "127.0.0.1" } })).status).toBe(200);
    expect((await fetch(ask("/health"), { remoteAddr: { hostname: "192.0.2.1" } })).status).toBe(403);
    expect((await fetch(ask("/health"))).status).toBe(403);
  });

  it("serves whoever sends the token, of sessions as many as there are", async () => {
    const { sandbox, settings } = settingsOf();
    const { fetch, stop } = await make({ ...settings, token, rate: "auto" });
    onTestFinished(stop);
    const [userId = ""] = sandbox.userIds();
    const path = `/v1/users/${encodeURIComponent(userId)}/sessions.ndjson`;
    expect((await fetch(ask(path))).status).toBe(401);
    const answer = await fetch(ask(path, { authorization: `Bearer ${token}` }));
    expect((await answer.text()).trim().split("\n")).toHaveLength(5);
    const old = await fetch(ask(path, { authorization: `Bearer ${token}` }), { httpVersion: "1.0" });
    expect(old.status).toBe(505);
  });
});
