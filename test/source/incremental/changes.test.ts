/** Successive runs over a tenant that changes between them and while they read, from the cursor that each leaves for the next. */
import { describe, expect, it } from "vitest";
import { make, type Sandbox, type SandboxOptions } from "../../../src/sandbox/mod.ts";
import type { Session } from "../../../src/session/Session.ts";
import type * as SessionSource from "../../../src/source/SessionSource.ts";
import { draws } from "../paging/histories.ts";
import { walk } from "./walks.ts";
import { isLong } from "../../size.ts";

interface Run {
  readonly sessions: ReadonlyArray<Session>;
  readonly cursor: unknown;
  readonly verified: boolean;
  readonly unverifiedReasons: ReadonlyArray<string> | undefined;
}

const run = async (
  sandbox: Sandbox,
  cursor: unknown,
  options: SessionSource.ChangesOptions = {},
): Promise<Run> => {
  const { sessions, cursor: stored, end } = await walk(sandbox, { cursor }, options);
  return {
    sessions,
    cursor: stored,
    verified: end?.verified === true,
    unverifiedReasons: end?.unverifiedReasons,
  };
};

const versionOf = ({ session_id, last_updated, expires_at, client_ids }: Session) =>
  JSON.stringify([session_id, last_updated, expires_at, client_ids]);

/** Plays 20 runs over one random history; says what was wrong, if anything. */
const play = async (seed: number): Promise<ReadonlyArray<string>> => {
  const draw = draws(seed);
  const churn = [0, 0.5, 3][Math.floor(draw() * 3)]!;
  let clock = 1_767_225_600;
  let isReading = false;
  const gone = new Set<string>();
  const pageSize = 10 + Math.floor(draw() * 15);
  const change = () => {
    if (draw() < 0.6) clock += Math.floor(draw() ** 3 * 400);
    const present = [...sandbox.sessions(userId)];
    const any = present[Math.floor(draw() * present.length)];
    const kind = draw();
    if (any === undefined || kind < 0.3) sandbox.add(userId);
    else if (kind < 0.45) {
      sandbox.remove(userId, any.session_id);
      gone.add(any.session_id);
    } else sandbox.update(userId, any.session_id);
  };
  const options: SandboxOptions = {
    users: 1,
    seed,
    sessionsPerUser: Math.floor(draw() ** 2 * 80),
    now: () => clock,
    tieSeconds: draw() < 0.3 ? 86_400 : 1,
    ties: draw() < 0.5 ? "stable" : "unstable",
    paginationHeader: draw() < 0.7 ? "present" : "absent",
    beforeAnswer: () => {
      if (isReading) { for (let left = churn * 2 * draw(); left > draw(); left--) change(); }
    },
  };
  const sandbox: Sandbox = make(options);
  const [userId = ""] = sandbox.userIds();
  const problems: Array<string> = [];
  const lookback = 60;
  const newest = new Map<string, Session>();
  const delivered = new Set<string>();
  let cursor: unknown;
  for (let runs = 1; runs <= 20; runs++) {
    const before = new Map([...sandbox.sessions(userId)].map((session) => [session.session_id, session]));
    isReading = true;
    const { sessions, cursor: next, verified, unverifiedReasons } = await run(sandbox, cursor, {
      lookback,
      pageSize,
      concurrency: 1 + Math.floor(draw() * 3),
    });
    isReading = false;
    if (!verified) problems.push(`run ${runs} is not verified: ${unverifiedReasons}`);
    cursor = next;
    for (const session of sessions) {
      if (delivered.has(versionOf(session))) problems.push(`run ${runs} repeats ${versionOf(session)}`);
      delivered.add(versionOf(session));
      const known = newest.get(session.session_id);
      if (known === undefined || known.last_updated <= session.last_updated) {
        newest.set(session.session_id, session);
      }
    }
    // What was there before the run, and neither changed nor went during it, is in the view now.
    for (const [id, session] of before) {
      const now = [...sandbox.sessions(userId)].find(({ session_id }) => session_id === id);
      if (now === undefined || versionOf(now as Session) !== versionOf(session as Session)) continue;
      const known = newest.get(id);
      if (known === undefined || versionOf(known) !== versionOf(session as Session)) {
        problems.push(`run ${runs} lacks ${versionOf(session as Session)}`);
      }
    }
    const quiet = draw() < 0.2 ? 0 : Math.floor(draw() * 12);
    for (let left = quiet; left > 0; left--) change();
    clock += Math.floor(draw() * 600);
  }
  const last = await run(sandbox, cursor, { lookback, pageSize });
  for (const session of last.sessions) newest.set(session.session_id, session);
  const live = [...sandbox.sessions(userId)].map((session) => versionOf(session as Session)).sort();
  const view = [...newest.values()].filter(({ session_id }) => !gone.has(session_id)).map(versionOf).sort();
  if (JSON.stringify(view) !== JSON.stringify(live)) problems.push("the view is not what is live");
  return problems;
};

describe("changes", () => {
  it(
    "over 20 runs, each history: the newest versions are the live sessions, and nothing is repeated unchanged",
    async () => {
      for (let seed = 1; seed <= (isLong ? 1000 : 20); seed++) {
        expect([seed, ...await play(seed)]).toEqual([seed]);
      }
    },
    600_000,
  );
});
