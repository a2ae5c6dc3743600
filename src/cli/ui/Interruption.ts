/** Messages on an export that is interrupted, and beforehand on one that would better not be. */
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import { LARGEST } from "../../source/paging/PageSizes.ts";
import { duration } from "./ProgressBar.ts";
import * as Terminal from "./Terminal.ts";

export const ofFiles = (usesPipe: boolean): ReadonlyArray<string> => [
  usesPipe
    ? "Interrupted: whoever reads has got a part of the export"
    : "Interrupted: no file was written. Export into a folder to be able to go on with --resume",
];

const isDatasetError = (cause: Cause.Cause<unknown>): boolean =>
  (Cause.squash(cause) as { readonly _tag?: string })._tag === "DatasetError";

/** Say what is left of an export into a folder that has ended before its time, for whatever reason. */
export const ofDataset = (
  root: string,
  isBegun: boolean,
  cause: Cause.Cause<unknown>,
): ReadonlyArray<string> => {
  const isInterrupted = Cause.isInterruptedOnly(cause);
  if (!isBegun) return isInterrupted ? [`Interrupted: nothing was written to ${root}`] : [];
  if (isDatasetError(cause)) return [];
  return [
    `${isInterrupted ? "Interrupted. " : ""}What has come so far is kept in ${root}: ` +
    "run the same again with --resume to go on from there",
  ];
};

/** Size of an export, as far as it is known, and its rate. */
export interface Size {
  readonly users: number | undefined;
  readonly sessions: number;
  readonly pageSize: number | "auto";
  /** Requests a second. */
  readonly rate: number | "auto";
}

/** Give the least time that it takes, in seconds: a request for each user, and one for each further page. */
export const leastSeconds = ({ users = 0, sessions, pageSize, rate }: Size): number =>
  rate === "auto" ? 0 : (users + Math.floor(sessions / (pageSize === "auto" ? LARGEST : pageSize))) / rate;

/** Exports into files that take longer than so many seconds should rather be folders. */
const LONG = 600;

/** Say once, as soon as an export into files turns out to be long, that a folder could be gone on with. */
export const advising = <A, E, R>(work: Effect.Effect<A, E, R>, size: () => Size): Effect.Effect<A, E, R> => {
  const advice = Effect.suspend(() =>
    Terminal.say([
      `This takes ${
        duration(leastSeconds(size()))
      } or more at --rate, and files that are interrupted begin anew. ` +
      "To be able to go on with --resume, name a folder: --out export/ --format csv",
    ])
  );
  const look = Effect.suspend(() => Effect.succeed(leastSeconds(size()) > LONG));
  const watch = Effect.repeat(Effect.delay(look, "100 millis"), { until: (isLong) => isLong });
  return Effect.scoped(Effect.zipRight(Effect.forkScoped(Effect.zipRight(watch, advice)), work));
};
