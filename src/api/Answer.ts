/** The body of an answer: a page, an object, or the error that it is. */
import { ApiError, type ApiErrorReason, isProblem, isWebPage, parseProblem } from "./ApiError.ts";
import * as ContentEncoding from "./transport/ContentEncoding.ts";
import * as PaginationHeader from "./PaginationHeader.ts";
import type { Headers } from "./transport/Transport.ts";

export interface Page<Rows> {
  /** The decoded body. */
  readonly rows: Rows;
  /** Absent if the tenant sent none that could be read. */
  readonly pagination: PaginationHeader.PaginationHeader | undefined;
  /** The time of the answer by the tenant's clock, in seconds since the epoch; absent if it does not say. */
  readonly servedAt?: number | undefined;
  /** Size of the body. */
  readonly bytes: number;
  /** The time from the request to the end of the body. */
  readonly milliseconds: number;
}

export type Fail = (reason: ApiErrorReason, detail: string) => ApiError;

/** Makes the words of others fit to be shown. */
export type Quote = (text: string) => string;

const utf8 = new TextDecoder("utf-8", { fatal: true });

const secondsOf = (date: string | undefined): number | undefined => {
  const milliseconds = Date.parse(date ?? "");
  return Number.isNaN(milliseconds) ? undefined : Math.floor(milliseconds / 1000);
};

/** Characters of a body that are searched for its kind. */
const LOOKED_AT = 4096;

/** Describes an answer of another kind: its type, and its title if it is a web page. */
const kindOf = (text: string, headers: Headers): string => {
  const title = /<title[^<>]*>([^<]{1,200})/i.exec(text.slice(0, LOOKED_AT))?.[1]?.trim();
  return `content-type is ${headers["content-type"] ?? "not given"}${title ? `, the title "${title}"` : ""}`;
};

/**
 * Makes the error of an answer that is a refusal by its status, with what its body says. Only the API speaks for the API:
 * others answer 401, 403 or 404 in its name, with a page for people or a text.
 */
export const refusalOf = (refusal: ApiError, headers: Headers, body: Uint8Array, quote: Quote): ApiError => {
  const text = new TextDecoder().decode(body);
  const type = headers["content-type"] ?? "";
  const { status = 0 } = refusal;
  const isPage = isWebPage(text, type);
  if (
    (isPage && status >= 400 && status < 500 && status !== 407) || (status === 404 && !isProblem(text, type))
  ) {
    return new ApiError({
      ...refusal,
      reason: isPage ? "WebPage" : "ContentType",
      detail: quote(kindOf(text, headers)),
    });
  }
  return new ApiError({ ...refusal, problem: parseProblem(text, quote) });
};

/**
 * Makes the error of a body that can't be read, in other words than those of JSON.parse. These quote the body: rows, which
 * are no one's business, or half of an echoed key.
 */
const unreadable = (headers: Headers, body: Uint8Array, error: unknown, fail: Fail): ApiError => {
  const type = headers["content-type"] ?? "application/json";
  const text = new TextDecoder().decode(body.subarray(0, LOOKED_AT));
  if (isWebPage(text, type)) return fail("WebPage", kindOf(text, headers));
  if (!/[/+]json\b/i.test(type)) return fail("ContentType", `content-type is ${type}`);
  const codings = ContentEncoding.codingsOf(headers["content-encoding"]);
  const coded = codings.length === 0 ? "" : `, and content-encoding is ${codings.join(", ")}`;
  const flaw = error instanceof SyntaxError ? "JSON" : "UTF-8";
  return fail("Body", `the body, ${body.byteLength} bytes, is not ${flaw}${coded}`);
};

/** A reader of answers of one kind. Gives what it says, or the error. */
export type Read<A> = (
  headers: Headers,
  body: Uint8Array,
  fail: Fail,
  milliseconds: number,
) => A | ApiError;

export const item: Read<object> = (headers, body, fail) => {
  try {
    const value: unknown = JSON.parse(utf8.decode(body));
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? value
      : fail("Body", "the body is JSON, but not an object");
  } catch (error) {
    return unreadable(headers, body, error, fail);
  }
};

/** The most rows that an answer may have where fewer than half as many were asked for, whatever it says of itself. */
const MOST_UNASKED = 10_000;

/**
 * Decodes the rows of a body, of which there may be `most`. Gives undefined where it is JSON but no array, and `"more"`
 * where there are more. Throws a `SyntaxError` where it is not JSON, and a `TypeError` where it is not UTF-8.
 */
export type DecodeRows<Rows> = (body: Uint8Array, most: number) => Rows | "more" | undefined;

/** Reads the body of a page. One with more rows than were asked for, and than it says itself, is refused unparsed. */
export const page =
  <Rows>(size: number, decode: DecodeRows<Rows>): Read<Page<Rows>> => (headers, body, fail, milliseconds) => {
    try {
      const pagination = PaginationHeader.parse(headers["x-pagination"]);
      const unasked = Math.max(2 * size, MOST_UNASKED);
      const most = Math.max(size, Math.min(pagination?.pageSize ?? unasked, unasked));
      const rows = decode(body, most);
      if (rows === undefined) return fail("Body", "the body is JSON, but not an array");
      if (rows === "more") {
        return fail("TooLarge", `there are more than ${most} rows, and ${size} were asked for`);
      }
      return {
        rows,
        pagination,
        servedAt: secondsOf(headers["date"]),
        bytes: body.byteLength,
        milliseconds,
      };
    } catch (error) {
      return unreadable(headers, body, error, fail);
    }
  };
