/**
 * A look at the workers and the runs on many machines, by the records that these leave at the queue's server.
 *
 * @module
 */
import * as Context from "effect/Context";
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Redacted from "effect/Redacted";
import * as QueueError from "../../queue/QueueError.ts";
import * as QueueServer from "../../queue/QueueServer.ts";
import * as RateLedger from "../../queue/RateLedger.ts";
import * as Records from "../../queue/Records.ts";
import type { Values } from "../../queue/Values.ts";
import type { Settings } from "../Settings.ts";

/** The rate of a tenant, which all machines share. */
export interface SharedRate {
  /** Host of the tenant. */
  readonly tenant: string;
  /** Requests a second. */
  readonly rate: number;
  /** Seconds left of the pause that the tenant asked for. */
  readonly heldFor: number;
}

/** Records as they were found. */
export interface Found {
  readonly workers: ReadonlyArray<Records.Aged<"worker">>;
  readonly runs: ReadonlyArray<Records.Aged<"run">>;
  readonly rates: ReadonlyArray<SharedRate>;
}

/** A look, of which there is one for all who ask at about the same time; undefined where no queue is configured. */
export class Machines extends Context.Tag("monocloud-sessions/Machines")<
  Machines,
  Effect.Effect<Found, QueueError.QueueError> | undefined
>() {}

/** The time for which a look is good, and the longest that one may take, in milliseconds. */
const FRESH = 2000;
const PATIENCE = 5000;
/** The time after which a rate counts no more that nobody asked for a turn of, in milliseconds. */
const IDLE = 60_000;

const RATES = "rate:";

const ratesAt = async (values: Values): Promise<ReadonlyArray<SharedRate>> =>
  (await values.list(RATES)).flatMap(({ key, value, age }) => {
    const state = RateLedger.parse(value);
    const tenant = key.slice(RATES.length);
    if (state === undefined || !URL.canParse(tenant)) return [];
    // Its times are on the server's clock, which the entry's age continues.
    const heldFor = Math.max(0, state.heldUntil - state.at - age) / 1000;
    return age < IDLE || heldFor > 0 ? [{ tenant: new URL(tenant).host, rate: state.rate, heldFor }] : [];
  });

/** Make looks at a queue. It is connected to by the first of them, and again after one that failed. */
const lookingAt = (server: QueueServer.QueueServer) => {
  let opened: Promise<Values> | undefined;
  const look = async (): Promise<Found> => {
    const opening = opened ??= QueueServer.open(server);
    opening.catch(() => opened = undefined);
    const values = await opening;
    return {
      workers: await Records.list(values, "worker"),
      runs: await Records.list(values, "run"),
      rates: await ratesAt(values),
    };
  };
  let last: Promise<Found> | undefined;
  let [endedAt, isLooking] = [-Infinity, false];
  const shared = (): Promise<Found> => {
    if (last !== undefined && (isLooking || performance.now() - endedAt < FRESH)) return last;
    isLooking = true;
    last = look().finally(() => [endedAt, isLooking] = [performance.now(), false]);
    return last;
  };
  return { shared, close: async () => await (await opened?.catch(() => undefined))?.close() };
};

/** Looks at the queue that the settings name. */
export const layer = ({ queueUrl }: Settings): Layer.Layer<Machines> => {
  if (queueUrl === undefined) return Layer.succeed(Machines, undefined);
  return Layer.scoped(
    Machines,
    Effect.gen(function* () {
      const server = QueueServer.parse(Redacted.value(queueUrl));
      const { shared } = yield* Effect.acquireRelease(
        Effect.sync(() => lookingAt(server)),
        ({ close }) => Effect.promise(() => close().catch(() => undefined)),
      );
      return Effect.tryPromise({
        try: shared,
        catch: (error) => error instanceof QueueError.QueueError ? error : QueueError.of(server.name, error),
      }).pipe(
        Effect.timeoutFail({
          duration: PATIENCE,
          onTimeout: () =>
            QueueError.of(server.name, new Error(`no answer within ${Duration.format(PATIENCE)}`)),
        }),
      );
    }),
  );
};
