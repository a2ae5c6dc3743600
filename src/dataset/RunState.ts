/**
 * State of a run in memory: the users that are walked and where each walk stands, counts, and who failed.
 * A checkpoint writes it down as {@link Manifest.RunProgress}.
 */
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Export from "../export/Export.ts";
import type { Batch } from "../session/Batch.ts";
import type { Traffic } from "../api/TenantClient.ts";
import type * as Manifest from "./Manifest.ts";

export type RunState = Effect.Effect.Success<ReturnType<typeof make>>;

/** Give the tally of a run that has come so far. Users that failed are tried again, so they do not count as ended. */
export const tallyOf = (
  { progress, failed, missing, unverified, open }: Pick<
    Manifest.RunProgress,
    "progress" | "failed" | "missing" | "unverified" | "open"
  >,
  shown: Export.Progress,
): Export.Tally => ({
  progress: Object.assign(shown, progress, {
    users: progress.users - failed.length,
    failed: 0,
    before: { ...progress, users: progress.users - failed.length },
  }),
  missing: [...missing],
  unverified: [...unverified],
  failed: [],
  walking: new Set(open.filter(({ state }) => state !== undefined).map(({ user_id }) => user_id)),
});

const NAMED = 100;

/** Count what may have been delivered before as it is, from what the run had counted. */
const redeliveryCounter = (begun: Manifest.RunProgress["redelivered"]) => {
  let { sessions, users: { count, first } } = begun ?? { sessions: 0, users: { count: 0, first: [] } };
  const walking = new Set<string>();
  return {
    add: ({ userId, redelivered = 0, end }: Batch): void => {
      sessions += redelivered;
      if (redelivered > 0 && !walking.has(userId) && !first.includes(userId)) {
        walking.add(userId);
        count++;
        if (first.length < NAMED) first = [...first, userId];
      }
      if (end !== undefined) walking.delete(userId);
    },
    now: () => sessions > 0 ? { redelivered: { sessions, users: { count, first } } } : {},
  };
};

const stateOf = (state: unknown): unknown => typeof state === "function" ? state() : state;

/** Go on from what a run had done; `shown` is kept up to date. */
export const make = (
  before: Manifest.RunProgress,
  shown: Export.Progress,
  traffic: () => Pick<Traffic, "requests" | "retries">,
) =>
  Effect.map(Clock.currentTimeMillis, (began) => {
    const asked = traffic();
    const tally = tallyOf(before, shown);
    const redelivered = redeliveryCounter(before.redelivered);
    /** Users that have been begun and have not ended, each with where its walk stands or what tells that. */
    const open = new Map<string, unknown>();
    const failed = new Map<string, Manifest.Manifest["failed"][number]>();
    let { position } = before;
    return {
      tally,
      /** Notes that a user is walked, from the beginning or from where an earlier walk stood. */
      open: (userId: string, state?: unknown) => void open.set(userId, state),
      openNext: (userId: string) => {
        position++;
        open.set(userId, undefined);
      },
      /** Tells whether a user's walk has come to anything yet. */
      isBegun: (userId: string): boolean => open.get(userId) !== undefined,
      add: (batch: Batch) => {
        const { userId, end, state } = batch;
        Export.count(tally, batch);
        redelivered.add(batch);
        if (end === undefined) {
          if (state !== undefined) open.set(userId, state);
          return;
        }
        if (end.status === "failed") {
          const state = stateOf(open.get(userId));
          failed.set(userId, { user_id: userId, message: end.message ?? "", state });
        }
        open.delete(userId);
      },
      /** Gives all of it, as a checkpoint has it. */
      progress: Effect.map(Clock.currentTimeMillis, (now): Manifest.RunProgress => {
        const { requests, retries } = traffic();
        return {
          position,
          open: [...open].map(([user_id, state]) => ({ user_id, state: stateOf(state) })),
          failed: [...failed.values()],
          progress: tally.progress,
          missing: tally.missing,
          unverified: tally.unverified,
          ...redelivered.now(),
          seconds: before.seconds + (now - began) / 1000,
          requests: before.requests + requests - asked.requests,
          retries: before.retries + retries - asked.retries,
        };
      }),
      /** Gives the users whose walk broke off. */
      failed: (): Manifest.Manifest["failed"] => [...failed.values()],
    };
  });
