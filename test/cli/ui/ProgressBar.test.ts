import * as fc from "fast-check";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  byteCount,
  duration,
  perSecond,
  plural,
  render,
  renderLine,
  type Snapshot,
} from "../../../src/cli/ui/ProgressBar.ts";
import { newFolder } from "../../folders.ts";
import { begin, quotedCommand, start, tenant, until } from "../command.ts";

const snapshot: Snapshot = {
  users: 250,
  usersTotal: 1000,
  sessions: 12_000,
  listed: 13_000,
  requests: 400,
  retries: 3,
  rate: 20,
  waiting: 7,
  heldUntil: 0,
  limit: 20,
  speed: 200,
  secondsLeft: 180,
  now: 1_000_000,
};

const size = fc.oneof(fc.nat({ max: 20 }), fc.nat(), fc.maxSafeNat());

const anySnapshot: fc.Arbitrary<Snapshot> = fc.record({
  users: size,
  usersTotal: fc.option(size, { nil: undefined }),
  sessions: size,
  listed: size,
  requests: size,
  retries: size,
  rate: fc.double({ min: 0.001, max: 1e6, noNaN: true }),
  waiting: size,
  heldUntil: size,
  limit: fc.oneof(fc.constant("auto" as const), fc.double({ min: 0.001, max: 1e6, noNaN: true })),
  speed: size,
  secondsLeft: fc.option(size, { nil: undefined }),
  workers: fc.option(size, { nil: undefined }),
  now: size,
});

describe("render()", () => {
  it("never takes more than the columns there are, on one line, whatever the numbers", () => {
    fc.assert(fc.property(anySnapshot, fc.integer({ min: -2, max: 300 }), (at, width) => {
      const line = render(at, width);
      expect(line.length).toBeLessThanOrEqual(Math.max(0, width));
      // Every character takes one column.
      expect(line).toMatch(/^[\x20-\x7e█░·]*$/);
      expect(line).not.toMatch(/NaN|Infinity|undefined/);
    }));
  });

  it("shows how much is done, and first what matters most", () => {
    const bar = `${"█".repeat(3)}${"░".repeat(7)}  25%`;
    expect(render(snapshot, 200)).toBe(
      `${bar} · 250/1,000 users · 12,000 sessions · 3m 00s left · 200/s · 400 requests · 3 retries · limited by --rate 20/s`,
    );
    expect(render(snapshot, 70)).toBe(`${bar} · 250/1,000 users · 12,000 sessions · 3m 00s left`);
  });

  it("says how many workers take part, before what holds them back", () => {
    expect(render({ ...snapshot, workers: 3 }, 200)).toContain(
      " · 400 requests · 3 workers · 3 retries · limited by",
    );
    expect(renderLine({ ...snapshot, workers: 1 })).toContain(", 1 worker, ");
    expect(renderLine({ ...snapshot, workers: 0 })).toContain(", 0 workers, ");
    expect(renderLine(snapshot)).not.toContain("worker");
  });

  it("shows no share of what is not known", () => {
    const unknown = { ...snapshot, usersTotal: undefined, secondsLeft: undefined };
    expect(render(unknown, 40)).toBe("250 users · 12,000 sessions · 200/s");
  });

  it("goes by sessions where there is one user, and never beyond 100%", () => {
    const one = { ...snapshot, users: 0, usersTotal: 1 };
    expect(render({ ...one, sessions: 6500 }, 25)).toContain(" 50%");
    expect(render({ ...one, sessions: 20_000 }, 25)).toContain("100%");
  });

  it("says that the tenant asked to be left alone, and for how long", () => {
    expect(render({ ...snapshot, heldUntil: snapshot.now + 4100 }, 200)).toContain(
      "held for 5s by the tenant",
    );
  });
});

describe("what holds requests back", () => {
  it.each([
    ["the flag", {}, "limited by --rate 20/s"],
    ["the tenant", { rate: 5 }, "slowed down to 5/s by the tenant"],
    ["the rate that was found", { rate: 31, limit: "auto" as const }, "31/s found by --rate auto"],
  ])("is %s", (_, change, words) => expect(renderLine({ ...snapshot, ...change })).toContain(words));

  it("is not told where nothing waits", () => {
    expect(renderLine({ ...snapshot, waiting: 0 })).not.toContain("--rate");
  });
});

describe("renderLine()", () => {
  it("is one line, whatever the numbers", () => {
    fc.assert(fc.property(anySnapshot, (at) => {
      expect(renderLine(at)).toMatch(/^[\x20-\x7e]+$/);
      expect(renderLine(at)).not.toMatch(/NaN|Infinity|undefined/);
    }));
  });
});

it("numbers are written for people", () => {
  expect([0, 12.4, 61, 247, 3600, 3900, 90_000].map(duration)).toEqual([
    "0s",
    "12s",
    "1m 01s",
    "4m 07s",
    "1h 00m",
    "1h 05m",
    "25h 00m",
  ]);
  expect([0, 999, 1000, 1_240_000, 5e12, 1e18].map(byteCount)).toEqual([
    "0 bytes",
    "999 bytes",
    "1.0 kB",
    "1.2 MB",
    "5.0 TB",
    "1000000.0 TB",
  ]);
  expect([plural(1, "retry"), plural(2000, "retry"), plural(0, "row")]).toEqual([
    "1 retry",
    "2,000 retries",
    "0 rows",
  ]);
  expect([0.016_666, 2.5, 20, 1234.5].map(perSecond)).toEqual(["0.017/s", "2.5/s", "20/s", "1,235/s"]);
});

describe("an export", () => {
  const slow = { users: 60, sessionsPerUser: 2, faults: { latencyMs: 20 } };

  it("writes a line every few seconds where there is no terminal", async () => {
    const { env } = await tenant(slow);
    const args = ["export", "--all-users", "--rate", "5/s", "--out", "s.csv"];
    const running = begin(args, { env, cwd: await newFolder() });
    await until(() => running.err().split("\n").length > 2, "two lines are there");
    const lines = running.err().trimEnd().split("\n");
    const stamped = /^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ /;
    for (const line of lines) expect(line).toMatch(stamped);
    for (const line of lines) {
      expect(line.replace(stamped, "")).toMatch(/^\d+%, \d+\/60 users, \d+ sessions, \d+s left, /);
    }
    expect(running.err()).not.toContain("\r");
    running.kill("SIGKILL");
  });

  it("tells the time left of this process after --resume, and not what an earlier one had done", async () => {
    const { sandbox, env } = await tenant({ users: 600, sessionsPerUser: { mean: 2 } });
    const cwd = await newFolder();
    const args = ["export", "--all-users", "--out", "data", "--format", "ndjson"];
    const first = begin([...args, "--rate", "500/s"], { env, cwd });
    await until(() => sandbox.counts.total > 300, "half of the users are walked");
    first.kill("SIGTERM");
    expect((await first.done).code).toBe(75);
    const running = begin([...args, "--resume", "--rate", "10/s"], { env, cwd });
    await until(() => running.err().split("\n").length > 2, "two lines are there");
    const line = running.err().trimEnd().split("\n")[1]!;
    const [, users, minutes = "0", seconds] = /(\d+)\/600 users, .*?, (?:(\d+)m )?(\d+)s left, /.exec(line) ??
      [];
    const left = Number(minutes) * 60 + Number(seconds);
    expect(Math.abs(left / ((600 - Number(users)) / 10) - 1), line).toBeLessThan(0.3);
    running.kill("SIGKILL");
  });

  const onTerminal = (args: string, env: Record<string, string>, cwd: string, columns?: number) => {
    const size = columns === undefined ? "" : `stty cols ${columns}; `;
    const command = `${size}${quotedCommand} ${args}`;
    return start("script", ["-qec", command, "/dev/null"], {
      env: { TERM: "xterm", ...env },
      cwd,
      input: "",
    });
  };

  it.each([[100, 99], [40, 39], [undefined, 79]])(
    "draws a bar in place on a terminal of %s columns, and clears it",
    async (columns, most) => {
      const { env } = await tenant(slow);
      const cwd = await newFolder();
      const args = "export --all-users --rate 50/s --out s.csv";
      const { out, code } = await onTerminal(args, env, cwd, columns).done;
      expect(code).toBe(0);
      const frames = out.split("\r\u001b[K");
      expect(frames.length).toBeGreaterThan(5);
      const [before, ...drawn] = frames;
      const after = drawn.pop()!;
      expect(before).toBe("");
      for (const frame of drawn) {
        expect(frame.length).toBeLessThanOrEqual(most);
        expect(frame).toMatch(/^[\x20-\x7e█░·]*$/);
      }
      expect(drawn.some((frame) => /[█░]{10} +\d+%/.test(frame))).toBe(true);
      expect(after).toMatch(/^120 sessions of 60 users in \d+s, .*\r\n {2}s\.csv: 120 rows, /);
    },
    30_000,
  );

  it("clears the bar before it says what went wrong", async () => {
    const { env } = await tenant({ ...slow, malformed: 0.05 });
    const args = "export --all-users --rate 50/s --on-invalid fail --out s.csv";
    const { out, code } = await onTerminal(args, env, await newFolder()).done;
    expect(code).toBe(65);
    expect(out.split("\r\u001b[K").at(-1)).toMatch(/^Error: User /);
  });

  it("clears the bar before it says that it was interrupted", async () => {
    const { env } = await tenant(slow);
    const args = "export --all-users --rate 10/s --out s.csv";
    const cwd = await newFolder();
    const line =
      `${quotedCommand} ${args} & until [ -e drawn ]; do sleep 0.1; done; kill -INT $!; wait $!; echo "code $?"`;
    const running = start("script", ["-qec", `bash -mc "$LINE"`, "/dev/null"], {
      env: { TERM: "xterm", LINE: line, ...env },
      cwd,
      input: "",
    });
    await until(() => running.out().includes("\r\u001b[K"), "the bar is drawn");
    await writeFile(join(cwd, "drawn"), "");
    const { out } = await running.done;
    expect(out).toContain("\r\u001b[KInterrupted: no file was written. ");
    expect(out).toContain("code 75");
  });

  it("draws nothing when told to be quiet", async () => {
    const { env } = await tenant({ ...slow, users: 5 });
    const { out } = await onTerminal("export --all-users --quiet --out s.csv", env, await newFolder()).done;
    expect(out).toBe("");
  });
});
