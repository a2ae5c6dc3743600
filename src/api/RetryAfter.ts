/** The `Retry-After` header, in seconds or as a date. */
import type { Headers } from "./transport/Transport.ts";

/** Reads the pause that the tenant asks for, in milliseconds. */
export const parse = (headers: Headers, now: number): number | undefined => {
  const header = headers["retry-after"]?.trim();
  if (!header) return undefined;
  if (/^\d+(\.\d+)?$/.test(header)) return Math.ceil(Number(header) * 1000);
  // A date begins with the name of a day: of anything else, such as "-1", Date.parse makes up a year. In the oldest
  // form the year comes last, and the zone goes without saying.
  const until = /^[a-z]/i.test(header)
    ? Date.parse(/\d{2}:\d{2} \d{4}$/.test(header) ? `${header} GMT` : header)
    : NaN;
  // The tenant's date is measured against the tenant's clock where it tells it, for ours may be wrong.
  const serverNow = Date.parse(headers["date"] ?? "");
  return Number.isNaN(until) ? undefined : Math.max(0, until - (Number.isNaN(serverNow) ? now : serverNow));
};
