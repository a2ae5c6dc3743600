/**
 * Random histories of a tenant that is read while it changes, played through the real requests, walk and sandbox.
 */
import * as Batch from "../../../src/session/Batch.ts";
import * as Effect from "effect/Effect";
import * as Either from "effect/Either";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";
import type { WalkEnd } from "../../../src/session/Batch.ts";
import { make, type Sandbox, type SandboxOptions } from "../../../src/sandbox/mod.ts";
import * as TenantClient from "../../../src/api/TenantClient.ts";
import * as SessionsApi from "../../../src/api/SessionsApi.ts";
import * as Tenant from "../../../src/api/Tenant.ts";
import * as Transport from "../../../src/api/transport/Transport.ts";
import * as SessionSource from "../../../src/source/SessionSource.ts";

/** A generator of numbers from 0 to 1 that a seed determines. */
export const draws = (seed: number) => {
  let state = seed >>> 0;
  return (): number => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  };
};

/** The tenant that a sandbox is, without a network between. */
export const clientFor = (sandbox: Sandbox, options: TenantClient.TenantClientOptions = {}) =>
  TenantClient.layerOf(
    Either.getOrThrow(Tenant.make({ domain: "https://sandbox.example", apiKey: sandbox.key })),
    { rate: 1e6, ...options },
  ).pipe(
    Layer.provide(Transport.fetch((input, init) => sandbox.fetch(new Request(input, init)))),
  );

/** What happens to the list of one user while it is read. */
export interface History {
  readonly sessions: number;
  readonly pageSize: number;
  readonly concurrency: number;
  readonly sandbox: SandboxOptions;
  /** How many changes come before each answer, on average. */
  readonly churn: number;
  /** The share of changes that are deletions; the rest are sign-ins, back-dated ones among them, and uses. */
  readonly deletions: number;
  readonly clientId: boolean;
  readonly seed: number;
}

const pick = <A>(draw: () => number, choices: ReadonlyArray<A>): A =>
  choices[Math.floor(draw() * choices.length)]!;

/** The history that a seed determines: quiet and wild ones, with every awkwardness of a tenant. */
export const historyOf = (seed: number): History => {
  const draw = draws(seed);
  return {
    seed,
    sessions: Math.floor(draw() ** 2 * 160),
    pageSize: pick(draw, [10, 10, 16, 25, 40]),
    concurrency: pick(draw, [1, 1, 3, 6]),
    churn: pick(draw, [0, 0.3, 2, 6]),
    deletions: pick(draw, [1, 0.7, 0.4]),
    clientId: draw() < 0.15,
    sandbox: {
      seed,
      users: 1,
      tieSeconds: pick(draw, [1, 1, 3600, 86_400, 10 * 86_400, 100 * 86_400]),
      ties: pick(draw, ["stable", "unstable"] as const),
      paginationHeader: pick(draw, ["present", "present", "absent", "malformed"] as const),
      ...(draw() < 0.2 && { maxSize: 10 + Math.floor(draw() * 20) }),
    },
  };
};

/** A sandbox of one user whose sessions change before each answer, as the history says. */
const tenantOf = (history: History) => {
  const draw = draws(history.seed ^ 0x5bd1e995);
  const gone = new Set<string>();
  let quiet = true;
  const sandbox: Sandbox = make({
    ...history.sandbox,
    sessionsPerUser: history.sessions,
    beforeAnswer: ({ userId }) => {
      if (quiet) return;
      for (let left = history.churn * 2 * draw(); left > draw(); left--) {
        const present = [...sandbox.sessions(userId)];
        const any = present[Math.floor(draw() * present.length)];
        const kind = draw();
        if (any !== undefined && kind < history.deletions) {
          sandbox.remove(userId, any.session_id);
          gone.add(any.session_id);
        } else if (kind < history.deletions + (1 - history.deletions) / 2) sandbox.add(userId);
        else if (any !== undefined && draw() < 0.5) sandbox.update(userId, any.session_id);
        else if (any !== undefined) sandbox.add(userId, { initiated_at: any.initiated_at });
      }
    },
  });
  const [userId = ""] = sandbox.userIds();
  return { sandbox, userId, gone, begin: () => (quiet = false) };
};

/** What came of reading one history. */
export interface Outcome {
  readonly missed: ReadonlyArray<string>;
  readonly repeated: ReadonlyArray<string>;
  readonly end: WalkEnd | undefined;
  readonly requests: number;
}

const outcome = (
  there: ReadonlyArray<string>,
  gone: ReadonlySet<string>,
  delivered: ReadonlyArray<string>,
  end: WalkEnd | undefined,
  requests: number,
): Outcome => {
  const times = new Map<string, number>();
  for (const id of delivered) times.set(id, (times.get(id) ?? 0) + 1);
  return {
    missed: there.filter((id) => !gone.has(id) && !times.has(id)),
    repeated: [...times].filter(([, count]) => count > 1).map(([id]) => id),
    end,
    requests,
  };
};

/** Reads a history with the walk. */
export const walk = async (history: History): Promise<Outcome> => {
  const { sandbox, userId, gone, begin } = tenantOf(history);
  const clientId = history.clientId ? sandbox.clientIds[0] : undefined;
  const there = [...sandbox.sessions(userId)]
    .filter(({ client_ids }) => clientId === undefined || client_ids.includes(clientId))
    .map(({ session_id }) => session_id);
  begin();
  const { pageSize, concurrency } = history;
  const batches = await SessionSource.batches(Stream.make(userId), { pageSize, concurrency, clientId }).pipe(
    Stream.runCollect,
    Effect.provide(clientFor(sandbox)),
    Effect.runPromise,
  );
  const delivered = [...batches].flatMap((batch) =>
    Batch.sessions(batch).map(({ session_id }) => session_id)
  );
  return outcome(there, gone, delivered, [...batches].at(-1)?.end, sandbox.counts.total);
};

/** Reads the same history as tools do: pages 1, 2, 3… until there is no next one. */
export const readForward = async (history: History): Promise<Outcome> => {
  const { sandbox, userId, gone, begin } = tenantOf({ ...history, clientId: false });
  const there = [...sandbox.sessions(userId)].map(({ session_id }) => session_id);
  begin();
  const delivered: Array<string> = [];
  const page = (number: number): Effect.Effect<void, unknown, TenantClient.TenantClient> =>
    Effect.flatMap(
      SessionsApi.page(userId, { page: number, size: history.pageSize, sort: "initiated_at:1" }),
      ({ rows: { slices }, pagination }) => {
        const batch = { rows: { _tag: "Bytes" as const, slices } };
        for (const { session_id } of Batch.sessions(batch)) delivered.push(session_id);
        return (pagination?.hasNext ?? slices.from.length > 0) ? page(number + 1) : Effect.void;
      },
    );
  await Effect.runPromise(Effect.provide(page(1), clientFor(sandbox)));
  return outcome(there, gone, delivered, undefined, sandbox.counts.total);
};
