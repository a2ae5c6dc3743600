/** A tenant that answers as no tenant should: the command ends by itself, with a code that is documented, in bounded memory. */
import { readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import * as zlib from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { newFolder } from "../folders.ts";
import { answering, begin, beginDeno, type CommandOptions, type Running, until } from "./command.ts";
import { isLong, oneIn } from "../size.ts";

const MIB = 2 ** 20;
const headers = { "content-type": "application/json" };

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

const SPACES = Buffer.alloc(MIB, " ");

/** Bytes that a bomb unpacks to: more than the 64 MiB that are allowed, and in the long form more than memory may grow. */
const BOMB = (isLong ? 600 : 100) * MIB;

/** A list of nothing but space, of so many bytes, in gzip. */
const packedSpace = (bytes: number): Buffer =>
  zlib.gzipSync(Buffer.concat([Buffer.from("["), Buffer.alloc(bytes, " "), Buffer.from("]")]), { level: 1 });

/** Writes for as long as somebody reads, up to so many bytes. */
const pouring = (response: ServerResponse, chunk: Buffer, most = Infinity): void => {
  let sent = 0;
  const more = () => {
    while (sent < most && !response.destroyed) {
      sent += chunk.length;
      if (!response.write(chunk)) return;
    }
    if (sent >= most) response.end();
  };
  response.on("drain", more);
  more();
};

/** The same bytes for every page, with what is said of the page. */
const always =
  (bytes: Buffer, more: (page: number, size: number) => object, coding?: string): Answer =>
  ({ url }, response) => {
    const { searchParams } = new URL(url!, "http://tenant.example");
    const [page, size] = [Number(searchParams.get("page")), Number(searchParams.get("size"))];
    const pagination = {
      page_size: size,
      current_page: page,
      total_count: 1,
      has_next: false,
      ...more(page, size),
    };
    response.writeHead(200, {
      ...headers,
      "x-pagination": JSON.stringify(pagination),
      ...(coding && { "content-encoding": coding }),
    });
    response.end(bytes);
  };

const listOf = (count: number, row: (index: number) => string): Buffer =>
  Buffer.from(`[${Array.from({ length: count }, (_, index) => row(index)).join(",")}]`);

const session = (id: string, extra: string): string =>
  `{"session_id":"${id}","client_ids":["a"],"initiated_at":1700000000,"expires_at":1800000000,"last_updated":1700000000,"extra":${extra}}`;

const deep = (depth: number): string => `${"[".repeat(depth)}${"]".repeat(depth)}`;

const full = (count: number) => (page: number, size: number) => ({
  page_size: Math.max(size, count),
  total_count: count * (page + 1),
  has_next: true,
});

interface Case {
  readonly answer: () => Answer;
  readonly code: number;
  readonly args?: ReadonlyArray<string>;
  readonly says?: string;
  /** How many lines there are of sessions and of what was quarantined. */
  readonly sessions?: number;
  readonly quarantined?: number;
  /** Only in the long form. */
  readonly isLong?: true;
}

const tooLarge = "TooLarge: the body has more than 64 MiB: 'maxBodyBytes' is the limit";

const cases: Readonly<Record<string, Case>> = {
  "an endless body": {
    answer: () => (_, response) => {
      response.writeHead(200, headers).write("[");
      pouring(response, SPACES);
    },
    code: 76,
    says: tooLarge,
  },
  "a body of 2 GiB, as it says": {
    answer: () => (_, response) => {
      response.writeHead(200, { ...headers, "content-length": `${2 ** 31}` });
      pouring(response, SPACES, 2 ** 31);
    },
    code: 76,
    says: tooLarge,
  },
  "a body of 2 GiB, unannounced": {
    answer: () => (_, response) => {
      response.writeHead(200, headers).write("[");
      pouring(response, SPACES, 2 ** 31);
    },
    code: 76,
    says: tooLarge,
  },
  "a body of 2 GiB for each of twelve users": {
    answer: () => (_, response) => {
      response.writeHead(200, headers).write("[");
      pouring(response, SPACES, 2 ** 31);
    },
    args: Array.from({ length: 12 }, (_, n) => ["--user", `user${n}`]).flat(),
    code: 76,
    says: tooLarge,
  },
  "a refusal of 2 GiB": {
    answer: () => (_, response) => {
      response.writeHead(403, { "content-type": "application/problem+json" });
      pouring(response, SPACES, 2 ** 31);
    },
    code: 3,
    says: "403 Forbidden",
  },
  "a bomb of gzip that is JSON": {
    answer: () => always(packedSpace(BOMB), () => ({}), "gzip"),
    code: 76,
    says: tooLarge,
  },
  "a bomb of gzip that is none": {
    answer: () => always(zlib.gzipSync(Buffer.alloc(BOMB, "["), { level: 1 }), () => ({}), "gzip"),
    code: 76,
    says: tooLarge,
  },
  "a bomb of brotli": {
    answer: () =>
      always(
        zlib.brotliCompressSync(Buffer.alloc(BOMB, "["), {
          params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 1 },
        }),
        () => ({}),
        "br",
      ),
    code: 76,
    says: tooLarge,
  },
  "a bomb of gzip just below the limit, that is an empty list": {
    answer: () => always(packedSpace(63 * MIB), () => ({ total_count: 0 }), "gzip"),
    code: 0,
    sessions: 0,
    isLong: true,
  },
  "a row nested 100,000 deep": {
    answer: () => always(listOf(1, () => deep(1e5)), () => ({})),
    code: 4,
    quarantined: 1,
  },
  "a row whose member is nested 100,000 deep": {
    answer: () =>
      always(
        listOf(1, () => `{"session_id":"S1","initiated_at":1700000000,"expires_at":${deep(1e5)}}`),
        () => ({}),
      ),
    code: 4,
    quarantined: 1,
  },
  "a row of 100,000 objects within each other": {
    answer: () => always(Buffer.from(`[${'{"a":'.repeat(1e5)}1${"}".repeat(1e5)}]`), () => ({})),
    code: 4,
    quarantined: 1,
  },
  "a session whose unknown member is nested 100,000 deep": {
    answer: () => always(listOf(1, () => session("S1", deep(1e5))), () => ({})),
    code: 4,
    quarantined: 1,
  },
  "one whose unknown member is nested 90 deep, to all formats": {
    answer: () => always(listOf(1, () => session("S1", deep(90))), () => ({})),
    args: ["--out", "s.csv", "--out", "s.parquet"],
    code: 0,
    sessions: 1,
  },
  "one whose unknown member is nested 90 deep, which redaction keeps": {
    answer: () => always(listOf(1, () => session("S1", deep(90))), () => ({})),
    args: ["--redact", "ip=drop,unknown=keep"],
    code: 0,
    sessions: 1,
  },
  "5,000 rows that are no sessions, as many as are asked for": {
    answer: () => always(listOf(5000, () => "{}"), full(5000)),
    args: ["--page-size", "5000"],
    code: 4,
    quarantined: 5000,
  },
  "5,000 such rows, where fewer are asked for": {
    answer: () => always(listOf(5000, () => "{}"), full(5000)),
    code: 4,
    quarantined: 5000,
  },
  "1,000,000 such rows, where fewer are asked for": {
    answer: () => always(listOf(1e6, () => "{}"), full(1e6)),
    code: 76,
    says: "TooLarge: there are more than 10000 rows, and 100 were asked for",
  },
  "1,000,000 such rows, where as many as may be are asked for": {
    answer: () => always(listOf(1e6, () => "{}"), full(1e6)),
    args: ["--page-size", "50000"],
    code: 76,
    says: "TooLarge: there are more than 100000 rows, and 50000 were asked for",
  },
  "1,000,000 such rows, where as many are asked for": {
    answer: () => always(listOf(1e6, () => "{}"), full(1e6)),
    args: ["--page-size", "1000000"],
    code: 2,
    says: "--page-size must be a whole number from 10 to 50000",
  },
  "50,000 such rows, no two of which are alike": {
    answer: () =>
      always(
        listOf(5e4, (index) => `{"session_id":"S${index}"}`),
        () => ({ page_size: 5e4, total_count: 5e4 }),
      ),
    args: ["--page-size", "50000"],
    code: 4,
    quarantined: 50_000,
    isLong: true,
  },
  "the same ten sessions, whatever page is asked for": {
    answer: () =>
      always(
        listOf(10, (index) => session(`S${index}`, "0")),
        () => ({ page_size: 10, total_count: 1e6, has_next: true }),
      ),
    code: 4,
    sessions: 10,
  },
};

const runtimes: ReadonlyArray<
  readonly [string, (args: ReadonlyArray<string>, options?: CommandOptions) => Running]
> = [
  ["Node", begin],
  ["Deno", (args, options) => beginDeno(["--allow-all"], args, options)],
];

/** The most memory a process has had, in MB, as of the last time it was looked at. */
const memoryOf = async ({ child }: Running): Promise<number> => {
  const status = await readFile(`/proc/${child.pid}/status`, "utf8").catch(() => "");
  return Number(/VmHWM:\s*(\d+) kB/.exec(status)?.[1] ?? 0) / 1000;
};

const measured: Array<Readonly<Record<string, string | number>>> = [];
afterAll(() => void (isLong && console.table(measured)));

const lines = (path: string): Promise<number> =>
  readFile(path, "utf8").then((text) => text.split("\n").length - 1, () => 0);

describe.each(runtimes)("under %s, an export is given", (runtime, begin) => {
  it.each(oneIn(3, Object.entries(cases).filter(([, one]) => isLong || !one.isLong)))(
    "%s",
    async (what, one) => {
      const { env } = await answering(one.answer());
      const cwd = await newFolder();
      const { args = [] } = one;
      const users = args.includes("--user") ? [] : ["--user", "alice"];
      const began = Date.now();
      const running = begin([
        "export",
        ...users,
        "--out",
        "s.ndjson",
        "--quarantine",
        "r.ndjson",
        ...args,
        "--quiet",
      ], { env, cwd });
      let memory = 0;
      const looking = setInterval(async () => memory = Math.max(memory, await memoryOf(running)), 10);
      const { code, err } = await running.done.finally(() => clearInterval(looking));
      measured.push({
        runtime,
        what,
        code: code ?? -1,
        seconds: (Date.now() - began) / 1000,
        MB: Math.round(memory),
      });
      expect(err).toContain(one.says ?? "");
      expect(code).toBe(one.code);
      if (one.sessions !== undefined) expect(await lines(join(cwd, "s.ndjson"))).toBe(one.sessions);
      if (one.quarantined !== undefined) expect(await lines(join(cwd, "r.ndjson"))).toBe(one.quarantined);
      if (isLong) expect(memory).toBeLessThan(400);
    },
    120_000,
  );

  // One that ends by itself before the signal comes shows nothing: these take a while.
  const endless: ReadonlyArray<readonly [string, Answer, ReadonlyArray<string>]> = [
    ["an answer that never begins", () => {}, []],
    ["a body that comes a byte at a time", (_, response) => {
      response.writeHead(200, headers).write("[");
      const drip = setInterval(() => response.destroyed ? clearInterval(drip) : response.write(" "), 20);
    }, []],
    [
      "50,000 rows that are no sessions for each of many users",
      always(
        listOf(5e4, (index) => `{"session_id":"S${index}"}`),
        () => ({ page_size: 5e4, total_count: 5e4 }),
      ),
      [
        ...["--page-size", "50000"],
        ...Array.from({ length: 8 }, (_, n) => ["--user", `user${n}`]).flat(),
      ],
    ],
    [
      "bombs of gzip, one after the other",
      always(packedSpace(60 * MIB), () => ({ total_count: 0 }), "gzip"),
      [
        ...Array.from({ length: 20 }, (_, n) => ["--user", `user${n}`]).flat(),
      ],
    ],
  ];

  it.each(oneIn(3, endless))("%s, and ends at once when it is told to", async (what, answer, args) => {
    let asked = 0;
    const { env } = await answering((request, response) => {
      asked++;
      return answer(request, response);
    });
    for (const after of isLong ? [0, 200, 500, 900, 1300] : [300]) {
      const cwd = await newFolder();
      const running = begin(["export", "--user", "alice", "--out", "s.ndjson", ...args, "--quiet"], {
        env,
        cwd,
      });
      // From the first request on, for whoever is told before that has not begun.
      const before = asked;
      await until(() => asked > before, "it has asked");
      await new Promise((resume) => setTimeout(resume, after));
      const told = Date.now();
      running.kill("SIGTERM");
      const { code } = await running.done;
      const took = Date.now() - told;
      expect(code).toBe(75);
      if (!isLong) continue;
      measured.push({ runtime, what: `SIGTERM: ${what}`, code: code ?? -1, seconds: took / 1000 });
      expect(took).toBeLessThan(1000);
    }
  }, 120_000);
});
