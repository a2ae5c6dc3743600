/** Readers of what people write for numbers, times and sizes. Each gives undefined for what it can't read. */
import * as Either from "effect/Either";
import { type Sort, sortKeys } from "../../api/Sort.ts";
import type { MaxQuarantined } from "../../export/Export.ts";
import type { Reading } from "./Flag.ts";

const unitSeconds = { s: 1, min: 60, m: 60, h: 3600 } as const;

const wholeIn = (text: string, least: number, most: number): number | undefined => {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : NaN;
  return value >= least && value <= most ? value : undefined;
};

/** A whole number from `least` to `most`. */
export const whole = (least: number, most: number): Reading<number> => ({
  read: (text) => wholeIn(text, least, most),
  must: `a whole number from ${least} to ${most}`,
});

/** A whole number, or `auto`. */
export const wholeOrAuto = (least: number, most: number): Reading<number | "auto"> => ({
  read: (text) => text === "auto" ? text : wholeIn(text, least, most),
  must: `a whole number from ${least} to ${most}, or auto`,
});

/** A share from 0 to 1. */
export const share: Reading<number> = {
  read: (text) => /^\d+(\.\d+)?$/.test(text) && Number(text) <= 1 ? Number(text) : undefined,
  must: "a number from 0 to 1",
};

export const parquetVersion: Reading<1 | 2> = {
  read: (text) => ([1, 2] as const).find((version) => text === `${version}`),
  must: "1 or 2",
};

/** Requests a second, or `auto`. */
export const rate: Reading<number | "auto"> = {
  read: (text) => {
    if (text === "auto") return text;
    const found = /^(\d+(?:\.\d+)?)(?:\/(s|min|m|h))?$/.exec(text);
    const rate = found === null
      ? 0
      : Number(found[1]) / unitSeconds[(found[2] ?? "s") as keyof typeof unitSeconds];
    return rate > 0 && rate <= 1e6 ? rate : undefined;
  },
  must: "requests in a time, such as 20/s or 600/min, or auto",
};

export const sort: Reading<Sort> = {
  read: (text) => {
    const [key, order = "asc", ...rest] = text.split(":");
    const direction = ({ asc: 1, desc: -1, 1: 1, "-1": -1 } as const)[order];
    const isKnown = rest.length === 0 && direction !== undefined && sortKeys.some((known) => known === key);
    return isKnown ? `${key}:${direction}` as Sort : undefined;
  },
  must: `KEY:asc or KEY:desc, KEY one of ${sortKeys.join(", ")}`,
};

/** A time of up to a week, in milliseconds. */
export const duration: Reading<number> = {
  read: (text) => {
    const found = /^(\d+(?:\.\d+)?)(s|min|m|h)$/.exec(text);
    const value = found === null
      ? 0
      : Number(found[1]) * unitSeconds[found[2] as keyof typeof unitSeconds] * 1000;
    return value > 0 && value <= 7 * 24 * 3600 * 1000 ? value : undefined;
  },
  must: "a time such as 90s, 5m or 2h",
};

const multiples = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 } as const;

/** A size in bytes. */
export const size: Reading<number> = {
  read: (text) => {
    const found = /^(\d{1,12})([KMG]?)$/.exec(text);
    const value = found === null ? 0 : Number(found[1]) * multiples[found[2] as keyof typeof multiples];
    return value > 0 && value <= 2 ** 45 ? value : undefined;
  },
  must: "a size such as 64M or 1G",
};

/** A point in time, in seconds since the epoch. */
export const time: Reading<{ readonly since: number }> = {
  read: (text) => {
    const milliseconds = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2}))?$/.test(text)
      ? Date.parse(text)
      : NaN;
    return Number.isNaN(milliseconds) ? undefined : { since: Math.floor(milliseconds / 1000) };
  },
  must: "a date, or a time with its zone, such as 2026-01-31T18:00:00Z",
};

export const budget: Reading<MaxQuarantined> = {
  read: (text) => {
    const found = /^(\d{1,12}(?:\.\d+)?)(%?)$/.exec(text);
    const value = Number(found?.[1]);
    if (found?.[2] === "%") return value <= 100 ? { percent: value } : undefined;
    return Number.isInteger(value) ? { count: value } : undefined;
  },
  must: "a whole number or a share such as 0.1%",
};

/** Names of columns, each once. `Destination` refuses those that there are not. */
export const columns = (text: string): Either.Either<ReadonlyArray<string>, string> => {
  const names = text.split(",").map((name) => name.trim()).filter((name) => name);
  const repeated = names.find((name, at) => names.indexOf(name) < at);
  if (names.length === 0) return Either.left("it names none");
  return repeated === undefined ? Either.right(names) : Either.left(`${repeated} is there twice`);
};
