/** One rate for the processes of many machines, as the tenant counts it: real processes, a real server of the queue. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { expect, it, onTestFinished } from "vitest";
import type { Ceiling } from "../../src/queue/RateLedger.ts";
import { until } from "../cli/command.ts";
import { isLong } from "../size.ts";
import type { Told } from "./asking.ts";
import { program } from "../program.ts";
import { onEachServer } from "./servers.ts";

const PROCESSES = 3;

/** A request as the tenant saw it, on its own clock, in milliseconds. */
interface Seen {
  readonly at: number;
  readonly who: string;
  readonly isAccepted: boolean;
}

/** A refusal, with what it asks for in seconds, if anything. */
interface Refusal {
  readonly retryAfter?: number;
}

/** A tenant on a port, which refuses as the test says. */
const serve = async (refuse: (at: number) => Refusal | undefined) => {
  const seen: Array<Seen> = [];
  const server = createServer(({ headers }, response) => {
    const at = performance.now();
    const refusal = refuse(at);
    seen.push({ at, who: String(headers["x-api-key"]), isAccepted: refusal === undefined });
    if (refusal === undefined) {
      response.writeHead(200, { "content-type": "application/json" }).end("[]");
    } else {
      const { retryAfter } = refusal;
      response.writeHead(429, retryAfter === undefined ? {} : { "retry-after": `${retryAfter}` }).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { seen, domain: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
};

const sleep = (seconds: number) => new Promise((resume) => setTimeout(resume, 1000 * seconds));

/** Have processes ask a tenant, and give what it has seen since the time at which all had begun. */
const play = async (
  url: string,
  rate: Ceiling,
  refuse: (at: number) => Refusal | undefined,
  during: (seen: ReadonlyArray<Seen>) => Promise<unknown>,
) => {
  const { seen, domain } = await serve(refuse);
  const run = await program(new URL("asking.ts", import.meta.url));
  const running = Array.from(
    { length: PROCESSES },
    (_, n) => run([JSON.stringify({ url, domain, key: `key-${n}`, rate, concurrency: 8 } satisfies Told)]),
  );
  const begun = () => new Set(seen.map(({ who }) => who)).size === PROCESSES;
  const ended = () => running.map(({ err }) => err()).join("");
  await until(begun, "all processes ask").catch((error) => {
    throw new Error(`${error}\n${ended()}`);
  });
  const from = performance.now() + 200;
  await sleep(0.2);
  await during(seen);
  const to = performance.now();
  running.forEach(({ kill }) => kill("SIGKILL"));
  expect(ended()).toBe("");
  return { all: [...seen], seen: seen.filter(({ at }) => at >= from && at < to), from };
};

/** The rate between the first and the last request. */
const rateOf = (seen: ReadonlyArray<Seen>): number =>
  (seen.length - 1) / (seen.at(-1)!.at - seen[0]!.at) * 1000;

/** The most requests within any second. */
const mostIn = (seen: ReadonlyArray<Seen>): number => {
  let [most, from] = [0, 0];
  seen.forEach(({ at }, to) => {
    while (seen[from]!.at <= at - 1000) from++;
    most = Math.max(most, to - from + 1);
  });
  return most;
};

const say = (kind: string, text: string) => void process.stdout.write(`${kind}: ${text}\n`);

const SECONDS = isLong ? 60 : 4;

/** Seconds that the queue's server is down: longer than any lease of the rate. */
const DOWN = isLong ? 4 : 2;

onEachServer((server, kind) => {
  // Anything else on the machine that stops a process for longer than its turns are good for costs some of them.
  it.each(isLong ? [20, 200, 1000] : [200])(
    "%d a second over three processes",
    { retry: 2, timeout: 400_000 },
    async (rate) => {
      const { all, seen } = await play(await server.url(), rate, () => undefined, () => sleep(SECONDS));
      const measured = rateOf(seen);
      const shares = [0, 1, 2].map((n) => seen.filter(({ who }) => who === `key-${n}`).length);
      say(
        kind,
        `${rate}/s over ${PROCESSES} processes for ${SECONDS} s: ${measured.toFixed(2)}/s counted (${
          (100 * (measured / rate - 1)).toFixed(2)
        } %), ${mostIn(all)} at most in any second, of each ${shares.join(", ")}`,
      );
      expect(mostIn(all)).toBeLessThanOrEqual(rate < 1000 ? 1.15 * rate + 1 : 1.1 * rate);
      if (rate <= 200) expect(Math.abs(measured / rate - 1)).toBeLessThan(0.02);
      // Each has its share, whoever was faster at times.
      expect(Math.min(...shares)).toBeGreaterThan(seen.length / PROCESSES / 4);
    },
  );

  it("a refusal of one is felt by all within a second, until its end", async () => {
    const RETRY_AFTER = isLong ? 30 : 2;
    for (const rate of isLong ? [20, 200, 1000] : [200]) {
      let [isDue, refusedAt] = [false, 0];
      const refuse = (at: number): Refusal | undefined => {
        if (!isDue) return undefined;
        [isDue, refusedAt] = [false, at];
        return { retryAfter: RETRY_AFTER };
      };
      const { seen } = await play(await server.url(), rate, refuse, async () => {
        await sleep(1);
        isDue = true;
        await sleep(RETRY_AFTER + 2);
      });
      expect(refusedAt).toBeGreaterThan(0);
      const end = refusedAt + 1000 * RETRY_AFTER;
      const late = seen.filter(({ at }) => at > refusedAt && at < end);
      const felt = Math.max(0, ...late.map(({ at }) => at - refusedAt));
      const after = seen.filter(({ at }) => at >= end);
      say(
        kind,
        `429 with Retry-After: ${RETRY_AFTER} at ${rate}/s: the last request before its end ${
          felt.toFixed(0)
        } ms after it, the next ${(after[0]!.at - end).toFixed(0)} ms after its end, of ${
          new Set(after.map(({ who }) => who)).size
        } processes`,
      );
      expect(felt).toBeLessThan(1000);
      expect(new Set(after.map(({ who }) => who)).size).toBe(PROCESSES);
    }
  }, 240_000);

  it("nothing leaves while the queue's server is down, and all go on once it is back", async () => {
    let [down, up] = [0, 0];
    const { seen } = await play(await server.url(), 50, () => undefined, async (seen) => {
      await sleep(1);
      await server.kill();
      down = performance.now();
      await sleep(DOWN);
      up = performance.now();
      await server.start();
      const back = () => new Set(seen.filter(({ at }) => at > up).map(({ who }) => who)).size;
      await until(() => back() === PROCESSES, "all processes ask again");
    });
    const last = Math.max(0, ...seen.filter(({ at }) => at < up).map(({ at }) => at - down));
    const next = Math.min(...seen.filter(({ at }) => at >= up).map(({ at }) => at - up));
    say(
      kind,
      `server down for ${DOWN} s: the last request ${last.toFixed(0)} ms after that, the next ${
        next.toFixed(0)
      } ms after it starts again`,
    );
    expect(last).toBeLessThan(1000);
  }, 120_000);

  // The search is the same wherever its state is kept.
  if (!isLong && kind === "redis") return;
  it("a limit that nobody knows is found by all together", { retry: 1, timeout: 300_000 }, async () => {
    const limit = isLong ? 150 : 40;
    const settled = isLong ? 20 : 12;
    // Tokens that flow in evenly, of which a few are kept.
    let [tokens, filled] = [limit / 10, 0];
    const refuse = (at: number): Refusal | undefined => {
      tokens = Math.min(limit / 10, tokens + (at - filled) / 1000 * limit);
      filled = at;
      if (tokens < 1) return {};
      tokens--;
      return undefined;
    };
    const { seen, from } = await play(
      await server.url(),
      "auto",
      refuse,
      () => sleep(settled + SECONDS),
    );
    const later = seen.filter(({ at }) => at >= from + 1000 * settled);
    const accepted = later.filter(({ isAccepted }) => isAccepted);
    const refused = 1 - accepted.length / later.length;
    say(
      kind,
      `auto on ${limit}/s, after ${settled} s: ${rateOf(accepted).toFixed(2)}/s accepted (${
        (100 * rateOf(accepted) / limit).toFixed(1)
      } %), ${(100 * refused).toFixed(2)} % refused`,
    );
    expect(rateOf(accepted)).toBeGreaterThan(0.88 * limit);
    expect(refused).toBeLessThan(0.03);
  });
});
