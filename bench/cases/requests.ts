/** Requests, which are what a user waits for: of full, hourly and prune runs, by page cap and by how many users changed. */
import { join } from "node:path";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as TenantClient from "../../src/api/TenantClient.ts";
import * as Transport from "../../src/api/transport/Transport.ts";
import * as Dataset from "../../src/dataset/Dataset.ts";
import * as Formats from "../../src/format/Formats.ts";
import { make, type Sandbox, type SandboxOptions } from "../../src/sandbox/mod.ts";
import * as UserList from "../../src/source/UserList.ts";
import type { Bench } from "../case.ts";
import type { Section } from "../report.ts";

const START = 1_767_225_600;

/** A tenant whose time is told to it. */
const tenantOf = (options: SandboxOptions) => {
  let now = START;
  const sandbox = make({ until: START, now: () => now, ...options });
  const userIds = [...sandbox.userIds()];
  return {
    sandbox,
    /** Lets an hour pass in which so large a share of users sign in and use a session, one after the other. */
    passHour: (share: number) => {
      const changed = Math.round(userIds.length * share);
      for (let index = 0; index < changed; index++) {
        now += Math.max(1, Math.floor(3600 / changed));
        const userId = userIds[Math.floor(index * userIds.length / changed)]!;
        const [session] = sandbox.sessions(userId);
        if (session !== undefined) sandbox.update(userId, session.session_id);
        sandbox.add(userId);
      }
      now = Math.max(now, START) + 3600;
    },
  };
};

const askOf = ({ fetch, key }: Sandbox) => async (path: string) => {
  const answer = await fetch(
    new Request(`https://sandbox.example${path}`, { headers: { "x-api-key": key } }),
  );
  const rows: ReadonlyArray<{ readonly user_id: string }> = await answer.json();
  return { rows, hasNext: JSON.parse(answer.headers.get("x-pagination")!).has_next as boolean };
};

/** Requests of the loop that asks for pages 1, 2, 3… until `has_next` is false: of the list of users, and of each of them. */
const loop = async (sandbox: Sandbox, size: number): Promise<number> => {
  const before = sandbox.counts.total;
  const ask = askOf(sandbox);
  async function* pages(path: string) {
    for (let page = 1, more = true; more; page++) {
      const { rows, hasNext } = await ask(`${path}?page=${page}&size=${size}`);
      yield rows;
      more = hasNext;
    }
  }
  for await (const users of pages("/api/users")) {
    for (const { user_id } of users) {
      for await (const _ of pages(`/api/users/${user_id}/sessions`));
    }
  }
  return sandbox.counts.total - before;
};

interface Run extends Pick<Dataset.DatasetOptions<never, never>, "prune" | "byActivity"> {
  readonly pageSize?: number | "auto";
}

/** Requests of a run into a folder. */
const requestsOf = async ({ fetch, key }: Sandbox, root: string, { pageSize = "auto", ...run }: Run) => {
  const tenant = TenantClient.layer({ domain: "sandbox.example", apiKey: key, rate: 1e6 }).pipe(
    Layer.provide(Transport.fetch((input, init) => fetch(new Request(input, init)))),
  );
  const { requests, verified } = await Effect.runPromise(Effect.provide(
    Dataset.run({
      root,
      formats: [Formats.choose("ndjson")!],
      users: UserList.all(),
      tenant: "https://sandbox.example",
      mode: "resume",
      changes: "since-last",
      walk: { pageSize },
      ...run,
    }),
    tenant,
  ));
  if (!verified) throw new Error("A run is not verified");
  return requests;
};

const caps: ReadonlyArray<readonly [string, SandboxOptions]> = [
  ["gives 1,000", { maxSize: 1000 }],
  ["cuts to 200", { maxSize: 200 }],
  ["cuts to 100", { maxSize: 100 }],
  ["refuses more than 200", { maxSize: 200, overSize: "reject" }],
  ["refuses more than 100", { maxSize: 100, overSize: "reject" }],
];

export const run = async ({ folder, isQuick }: Bench): Promise<Section> => {
  const sessions = isQuick ? 5000 : 20_000;
  const users = isQuick ? 500 : 5000;
  let folders = 0;
  const newFolder = () => join(folder, `requests-${++folders}`);

  const single = [];
  for (const [tenant, options] of caps) {
    const { sandbox } = tenantOf({ users: 1, sessionsPerUser: sessions, ...options });
    single.push({
      "the tenant": tenant,
      "default": await requestsOf(sandbox, newFolder(), {}),
      "--page-size 100": await requestsOf(sandbox, newFolder(), { pageSize: 100 }),
      "loop over has_next, 100 a page": await loop(sandbox, 100),
      "SDK's loop, 10 a page": await loop(sandbox, 10),
    });
  }

  const runs = [];
  const hourly: Array<{ readonly share: number; readonly activity: number; readonly all: number }> = [];
  for (const [tenant, options] of [caps[0]!, caps[2]!]) {
    for (const byActivity of [{}, undefined]) {
      const { sandbox, passHour } = tenantOf({ users, sessionsPerUser: { mean: 100 }, ...options });
      const root = newFolder();
      const full = await requestsOf(sandbox, root, { byActivity });
      // A first change: until then, users active at the very end of what was generated are asked each time.
      passHour(1 / users);
      await requestsOf(sandbox, root, { byActivity });
      const shares: Record<string, number> = {};
      for (const share of [0, 0.001, 0.01, 0.1, 1]) {
        passHour(share);
        const requests = await requestsOf(sandbox, root, { byActivity });
        shares[`${100 * share} % changed`] = requests;
        if (options.maxSize !== 1000) continue;
        const known = hourly.findIndex((one) => one.share === share);
        if (known === -1) hourly.push({ share, activity: requests, all: 0 });
        else hourly[known] = { ...hourly[known]!, all: requests };
      }
      passHour(0.01);
      runs.push({
        "the tenant": tenant,
        run: byActivity === undefined ? "all users" : "--by-activity",
        full,
        ...shares,
        "--prune": await requestsOf(sandbox, root, { byActivity, prune: true }),
      });
    }
  }
  const { sandbox } = tenantOf({ users, sessionsPerUser: { mean: 100 } });
  const loops = { 100: await loop(sandbox, 100), 10: await loop(sandbox, 10) };

  return {
    title: "Requests",
    words:
      `One user with ${sessions.toLocaleString("en")} sessions; ${
        users.toLocaleString("en")
      } users with 100 on average. At the default 20 requests a second, 1,200 of them are a minute. A loop over pages asks ` +
      `for everything each time: ${loops[100].toLocaleString("en")} requests at 100 a page, ${
        loops[10].toLocaleString("en")
      } at the SDK's 10.`,
    tables: [
      { title: "Requests for the sessions of one user", rows: single },
      { title: "Requests of a run over all users", rows: runs },
    ],
    plots: [{
      kind: "lines",
      name: "requests",
      title: `Requests an hour, ${users.toLocaleString("en")} users`,
      x: {
        title: "users changed in the hour",
        values: hourly.map(({ share }) => Math.max(1, share * users)),
      },
      lines: [
        { label: "SDK's loop, 10 a page", values: hourly.map(() => loops[10]), isOurs: false },
        { label: "loop over has_next, 100 a page", values: hourly.map(() => loops[100]), isOurs: false },
        { label: "--since-last", values: hourly.map(({ all }) => all), isOurs: true },
        { label: "--since-last --by-activity", values: hourly.map(({ activity }) => activity), isOurs: true },
      ],
    }],
  };
};
