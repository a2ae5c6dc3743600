/** The `x-pagination` header: what the tenant says of a page beside its rows. */
import * as Schema from "effect/Schema";
import * as SchemaPredicate from "../scan/SchemaPredicate.ts";

const Count = Schema.Int.pipe(Schema.nonNegative());

const isHeader = SchemaPredicate.of(Schema.Struct({
  page_size: Schema.Int.pipe(Schema.positive()),
  current_page: Schema.Int.pipe(Schema.positive()),
  total_count: Count,
  has_next: Schema.Boolean,
}));

/** The size really used, which may be below the one asked for, and where the page lies in the list. */
export interface PaginationHeader {
  readonly pageSize: number;
  /** From 1. */
  readonly page: number;
  readonly total: number;
  readonly hasNext: boolean;
}

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

/** Reads the header; undefined if it is absent or not as both of MonoCloud's SDKs read it. */
export const parse = (header: string | undefined): PaginationHeader | undefined => {
  const pagination = header === undefined ? undefined : parseJson(header);
  return isHeader(pagination)
    ? {
      pageSize: pagination.page_size,
      page: pagination.current_page,
      total: pagination.total_count,
      hasNext: pagination.has_next,
    }
    : undefined;
};
