/**
 * Progress of an export, on standard error: a bar that is drawn anew on a terminal, a line every few seconds
 * elsewhere.
 */
import process from "node:process";
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Schedule from "effect/Schedule";
import type { Progress } from "../../export/Export.ts";
import type { Traffic } from "../../api/TenantClient.ts";
import * as Estimate from "./Estimate.ts";
import * as Terminal from "./Terminal.ts";

export interface Snapshot
  extends
    Pick<Progress, "compared">,
    Estimate.Counts,
    Estimate.Estimate,
    Omit<Traffic, "refused" | "answerTime"> {
  /** The rate that was asked for: requests a second. */
  readonly limit: number | "auto";
  /** Workers that take part; undefined where this process does all. */
  readonly workers?: number | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** `2,000`. By `toLocaleString` the first would take 25 ms, to load what is known of languages. */
export const count = (value: number): string => value.toFixed(0).replace(/\B(?=(?:\d{3})+$)/g, ",");

/** `1 request`, `2,000 requests`, `2 retries`. */
export const plural = (value: number, what: string): string =>
  `${count(value)} ${value === 1 ? what : what.endsWith("y") ? `${what.slice(0, -1)}ies` : `${what}s`}`;

/** `20/s`, or `2.5/s` where a digit more tells something. */
export const perSecond = (rate: number): string =>
  `${rate < 10 ? Number(rate.toPrecision(2)) : count(rate)}/s`;

/** `1h 05m`, `4m 07s`, `12s`. */
export const duration = (seconds: number): string => {
  const whole = Math.round(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (value: number) => String(value).padStart(2, "0");
  return h > 0 ? `${h}h ${two(m)}m` : m > 0 ? `${m}m ${two(s)}s` : `${s}s`;
};

/** `1.2 MB`. */
export const byteCount = (bytes: number): string => {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  const power = bytes < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  return power === 0 ? `${bytes} bytes` : `${(bytes / 1000 ** power).toFixed(1)} ${units[power]}`;
};

/** Say what holds the requests back, if anything: the flag, or the tenant that has slowed them down. */
const paceOf = ({ rate, limit, waiting }: Snapshot): string | undefined => {
  if (waiting === 0) return undefined;
  if (limit === "auto") return `${perSecond(rate)} found by --rate auto`;
  return rate < limit
    ? `slowed down to ${perSecond(rate)} by the tenant`
    : `limited by --rate ${perSecond(limit)}`;
};

/** The parts of a line, the most important first: those that do not fit are left out from the end. */
const parts = (at: Snapshot): ReadonlyArray<string> => {
  const held = Math.ceil((at.heldUntil - at.now) / 1000);
  const pace = paceOf(at);
  return [
    `${count(at.users)}${at.usersTotal === undefined ? "" : `/${count(at.usersTotal)}`} users`,
    `${count(at.sessions)} sessions`,
    ...(at.compared === undefined
      ? []
      : [`${count(at.compared.rows)}/${count(at.compared.rowsTotal)} rows compared`]),
    ...(at.secondsLeft === undefined ? [] : [`${duration(at.secondsLeft)} left`]),
    `${count(at.speed)}/s`,
    plural(at.requests, "request"),
    ...(at.workers === undefined ? [] : [plural(at.workers, "worker")]),
    plural(at.retries, "retry"),
    ...(held > 0 ? [`held for ${held}s by the tenant`] : []),
    ...(pace === undefined ? [] : [pace]),
    ...(at.lastFailure === undefined ? [] : [`last failure: ${at.lastFailure}`]),
  ];
};

const BAR = 10;

const bar = (share: number): string => "█".repeat(Math.round(share * BAR)).padEnd(BAR, "░");

/** One line of no more than this many columns. */
export const render = (at: Snapshot, width: number): string => {
  const done = Estimate.fraction(at);
  let line = done === undefined ? "" : `${bar(done)} ${String(Math.floor(done * 100)).padStart(3)}%`;
  for (const part of parts(at)) {
    const longer = line === "" ? part : `${line} · ${part}`;
    if (longer.length > width) break;
    line = longer;
  }
  return line.slice(0, Math.max(0, width));
};

export const renderLine = (at: Snapshot): string => {
  const done = Estimate.fraction(at);
  return [...(done === undefined ? [] : [`${Math.floor(done * 100)}%`]), ...parts(at)].join(", ");
};

/** `2026-01-31T18:00:00Z`. */
const secondOf = (now: number): string => `${new Date(now).toISOString().slice(0, 19)}Z`;

/** Draw a snapshot: on a terminal one line of no more columns than `width`; without it a line for a log. */
export type Drawing = (began: number, now: number, width: number | undefined) => string;

/** Shows how far the work has come while it runs, and leaves the terminal clean when it ends, however it ends. */
export const showing = <A, E, R>(work: Effect.Effect<A, E, R>, drawing: Drawing): Effect.Effect<A, E, R> =>
  Effect.flatMap(Clock.currentTimeMillis, (began) => {
    const { stderr } = process;
    const draw = Effect.map(Clock.currentTimeMillis, (now) => {
      if (stderr.isTTY) Terminal.drawBar(drawing(began, now, (stderr.columns || 80) - 1));
      else stderr.write(`${secondOf(now)} ${drawing(began, now, undefined)}\n`);
    });
    // A log of hours is read by nobody: after a minute there are fewer lines.
    const interval = Effect.map(
      Clock.currentTimeMillis,
      (now) => stderr.isTTY ? 100 : now - began < 60_000 ? 5000 : 30_000,
    );
    const ticker = Effect.repeat(
      Effect.flatMap(interval, (millis) => Effect.delay(draw, millis)),
      Schedule.forever,
    );
    // Cleared once the ticker has ended, which might draw once more.
    return Effect.ensuring(
      Effect.scoped(Effect.zipRight(Effect.forkScoped(ticker), work)),
      Effect.sync(Terminal.clearBar),
    );
  });

export type Reading = Omit<Snapshot, keyof Estimate.Estimate | "now"> & Pick<Progress, "before">;

export const during = <A, E, R>(
  work: Effect.Effect<A, E, R>,
  read: () => Reading,
): Effect.Effect<A, E, R> => {
  const estimate = Estimate.make();
  return showing(work, (began, now, width) => {
    const reading = read();
    const at: Snapshot = { ...reading, ...estimate(reading, began, now), now };
    return width === undefined ? renderLine(at) : render(at, width);
  });
};

/** Progress of work whose size is known. */
const share = (done: number, total: number, what: string, width: number | undefined): string => {
  const part = total === 0 ? 0 : Math.min(1, done / total);
  const percent = `${Math.floor(part * 100)}%`;
  const words = `${count(done)}/${count(total)} ${what}`;
  if (width === undefined) return `${percent}, ${words}`;
  return `${bar(part)} ${percent.padStart(4)} · ${words}`.slice(0, width);
};

/** Show the progress of work whose size is known. */
export const counting = <A, E, R>(
  work: Effect.Effect<A, E, R>,
  what: string,
  read: () => { readonly done: number; readonly total: number },
): Effect.Effect<A, E, R> =>
  showing(work, (_, __, width) => {
    const { done, total } = read();
    return share(done, total, what, width);
  });

/** Progress of a command that reads the parts of a folder. */
export interface RowProgress {
  readonly rows: number;
  readonly rowsTotal: number;
}

export const countingRows = <A, E, R>(work: Effect.Effect<A, E, R>, progress: RowProgress) =>
  counting(work, "rows", () => ({ done: progress.rows, total: progress.rowsTotal }));
