import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { faultNames } from "../../../src/sandbox/faults/Faults.ts";
import { type FaultOptions, make, parseFaults } from "../../../src/sandbox/mod.ts";
import { ask, askJson, firstUser, request, sessionsPath } from "../ask.ts";

const always = (faults: FaultOptions) => make({ users: 1, faults: { maxInARow: Infinity, ...faults } });

/** What became of one request: its status, or what broke. */
const outcome = async (sandbox: ReturnType<typeof make>, path: string): Promise<string> => {
  const response = await ask(sandbox, path);
  try {
    await response.json();
    return String(response.status);
  } catch (error) {
    return (error as Error).name;
  }
};

describe("faults", () => {
  it("answer the statuses asked for, with a body as from that kind of server", async () => {
    const types = { 429: "problem", 500: "problem", 502: "html", 503: "problem" };
    for (const [status, type] of Object.entries(types)) {
      const response = await ask(always({ [status]: 1 }), "/api/users");
      expect(response.status).toBe(Number(status));
      expect(response.headers.get("content-type")).toContain(type);
    }
    const html = await ask(always({ html: 1 }), "/api/users");
    expect([html.status, html.headers.get("content-type")]).toEqual([200, "text/html"]);
    expect(await html.text()).toContain("<html>");
  });

  it("reset before any byte of the body, cut after half of them, truncate without a word", async () => {
    const whole = new Uint8Array(await (await ask(make({ users: 1 }), "/api/users")).arrayBuffer());
    const read = async (faults: FaultOptions) => {
      const response = await ask(always(faults), "/api/users");
      const bytes: number[] = [];
      try {
        for await (const chunk of response.body ?? []) bytes.push(...chunk);
        return { response, bytes, failed: false };
      } catch {
        return { response, bytes, failed: true };
      }
    };
    const half = [...whole.slice(0, whole.length >> 1)];
    expect(await read({ reset: 1 })).toMatchObject({ bytes: [], failed: true });
    const cut = await read({ cut: 1 });
    expect(cut).toMatchObject({ bytes: half, failed: true });
    expect(cut.response.headers.get("content-length")).toBe(String(whole.length));
    const truncated = await read({ truncated: 1 });
    expect(truncated).toMatchObject({ bytes: half, failed: false });
    expect(truncated.response.headers.has("content-length")).toBe(false);
  });

  it("never fail one URL more than maxInARow times in a row, at any rate", async () => {
    const asked = fc.record({ seed: fc.nat(), maxInARow: fc.nat(4), name: fc.constantFrom(...faultNames) });
    await fc.assert(
      fc.asyncProperty(asked, fc.double({ min: 0, max: 1, noNaN: true }), async ({ name, ...rest }, rate) => {
        const sandbox = make({ users: 1, faults: { ...rest, [name]: rate } });
        let inARow = 0;
        for (let time = 0; time < 12; time++) {
          inARow = (await outcome(sandbox, "/api/users")) === "200" ? 0 : inARow + 1;
          expect(inARow).toBeLessThanOrEqual(rest.maxInARow);
        }
      }),
    );
  });

  it("come at about their rates, and to the same requests whatever the order", async () => {
    const faults = { 429: 0.1, 500: 0.05, reset: 0.05, html: 0.1, cut: 0.1 };
    const paths = Array.from({ length: 1_000 }, (_, page) => `/api/users?size=1&page=${page + 1}`);
    const run = async (order: readonly string[]) => {
      const sandbox = make({ users: 1, faults });
      const found: [string, string][] = [];
      for (const path of order) found.push([path, await outcome(sandbox, path)]);
      return { found: new Map(found), counts: sandbox.counts };
    };
    const there = await run(paths);
    expect((await run([...paths].reverse())).found).toEqual(there.found);
    for (const [name, rate] of Object.entries(faults)) {
      const share = (there.counts.byFault[name as "429"] ?? 0) / 1_000;
      expect(share, name).toBeGreaterThan(rate * 0.6);
      expect(share, name).toBeLessThan(rate * 1.4);
    }
    expect(there.counts.total).toBe(1_000);
  });

  it("leave the caller's own mistakes alone", async () => {
    const sandbox = always({ 500: 1 });
    const wrongKey = await sandbox.fetch(
      request(sandbox, "/api/users", { headers: { "x-api-key": "wrong" } }),
    );
    expect(wrongKey.status).toBe(401);
    expect((await ask(sandbox, "/elsewhere")).status).toBe(404);
  });
});

describe("retryAfter", () => {
  const header = async (faults: FaultOptions, path = "/api/users") =>
    (await ask(always({ 429: 1, ...faults }), path)).headers.get("retry-after");

  it("is seconds by default, a date, or not there", async () => {
    expect(await header({})).toBe("1");
    expect(await header({ retryAfterSeconds: 7 })).toBe("7");
    expect(await header({ retryAfter: "none" })).toBeNull();
    const wait = Date.parse(await header({ retryAfter: "date", retryAfterSeconds: 60 }) ?? "") - Date.now();
    expect(wait).toBeGreaterThan(58_000);
    expect(wait).toBeLessThanOrEqual(61_000);
    expect((await ask(always({ 503: 1 }), "/api/users")).headers.get("retry-after")).toBe("1");
    expect((await ask(always({ 500: 1 }), "/api/users")).headers.has("retry-after")).toBe(false);
  });

  it("is any of these when mixed", async () => {
    const kinds = new Set<string>();
    for (let page = 1; page <= 40; page++) {
      const value = await header({ retryAfter: "mixed" }, `/api/users?page=${page}`);
      kinds.add(value === null ? "none" : /^\d+$/.test(value) ? "seconds" : "date");
    }
    expect(kinds).toEqual(new Set(["none", "seconds", "date"]));
  });
});

describe("waiting", () => {
  it("takes latencyMs for every answer and slowMs more for slow ones", async () => {
    const took = async (faults: FaultOptions) => {
      const started = performance.now();
      await ask(always(faults), "/api/users");
      return performance.now() - started;
    };
    expect(await took({ latencyMs: 30 })).toBeGreaterThan(28);
    expect(await took({ slow: 1, slowMs: 60, latencyMs: 30 })).toBeGreaterThan(88);
  });

  it("ends when the request is aborted", async () => {
    const sandbox = always({ slow: 1, slowMs: 60_000 });
    const gone = new AbortController();
    const answer = sandbox.fetch(
      request(sandbox, "/api/users", { headers: { "x-api-key": sandbox.key }, signal: gone.signal }),
    );
    setTimeout(() => gone.abort(), 10);
    await expect(answer).rejects.toMatchObject({ name: "AbortError" });
    await expect(
      sandbox.answer({ method: "GET", target: "/api/users", key: sandbox.key, signal: gone.signal }),
    )
      .rejects.toMatchObject({ name: "AbortError" });
  });
});

describe("rateLimit", () => {
  it("answers 429 beyond the burst, and says when there will be a token", async () => {
    const sandbox = make({ users: 1, faults: { rateLimit: { perSecond: 0.25, burst: 3 } } });
    for (let time = 0; time < 3; time++) expect((await ask(sandbox, "/api/users")).status).toBe(200);
    const refused = await ask(sandbox, "/api/users");
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "4"]);
  });

  it("lets through what it promises", async () => {
    const sandbox = make({
      users: 1,
      sessionsPerUser: 1,
      faults: { rateLimit: { perSecond: 100, burst: 1 } },
    });
    const path = sessionsPath(firstUser(sandbox));
    for (let time = 0; time < 5; time++) {
      expect(await askJson(sandbox, path)).toHaveLength(1);
      await new Promise((resolve) => setTimeout(resolve, 15));
    }
  });
});

describe("parseFaults()", () => {
  it("reads rates, times and the rest", () => {
    expect(parseFaults("429=10%,500=0.1, reset = 5% ,slow=10%,latency=20ms")).toEqual({
      429: 0.1,
      500: 0.1,
      reset: 0.05,
      slow: 0.1,
      latencyMs: 20,
    });
    expect(parseFaults("slow-for=1.5s,retry-after=mixed,retry-after-seconds=2,max-in-a-row=0")).toEqual({
      slowMs: 1500,
      retryAfter: "mixed",
      retryAfterSeconds: 2,
      maxInARow: 0,
    });
    expect(parseFaults("burst=5,per-second=50,deletes=0.5,inserts=1")).toEqual({
      rateLimit: { perSecond: 50, burst: 5 },
      churn: { deletes: 0.5, inserts: 1 },
    });
    expect(parseFaults("")).toEqual({});
    expect(parseFaults("502=100%")).toEqual({ 502: 1 });
  });

  it("quotes the part that is wrong and says what would do", () => {
    expect(() => parseFaults("429=10%,teapot=1%")).toThrow(
      `Cannot read the faults at "teapot=1%": the names are ${faultNames.join(", ")}, slow, `,
    );
    const needs = {
      "429": "a rate",
      "cut=x%": "a rate",
      "cut=1.1": "a rate",
      "cut=-1": "a rate",
      "cut=1=1": "a rate",
    };
    for (const [part, need] of Object.entries(needs)) {
      expect(() => parseFaults(part), part).toThrow(`at "${part}": '${part.split("=")[0]}' needs ${need}`);
    }
    expect(() => parseFaults("latency=1h")).toThrow("needs a time such as 20ms or 1.5s");
    expect(() => parseFaults("retry-after=soon")).toThrow("needs seconds, date, none or mixed");
    expect(() => parseFaults("cut=1%,cut=2%")).toThrow("'cut' is there twice");
    expect(() => parseFaults("burst=2")).toThrow("'burst' needs a 'per-second' beside it");
    expect(() => parseFaults("per-second=0")).toThrow(RangeError);
  });

  it("reads any text into options that make() takes, or throws a RangeError", () => {
    const name = fc.constantFrom(...faultNames, "slow", "latency", "burst", "per-second", "deletes", "x", "");
    const value = fc.oneof(fc.constantFrom("10%", "0.1", "5ms", "1", "101%", "", "."), fc.string());
    const part = fc.tuple(name, value).map(([name, value]) => `${name}=${value}`);
    fc.assert(fc.property(fc.array(part).map((parts) => parts.join(",")), (text) => {
      try {
        make({ faults: parseFaults(text) });
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
      }
    }));
  });
});
