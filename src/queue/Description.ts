/**
 * The description of an export: whose sessions, and how they are written. It says nothing of where or when it runs. Requests to the
 * server and jobs of a queue are both made of it.
 *
 * @module
 */
import * as Schema from "effect/Schema";
import * as SessionFilters from "../api/SessionFilters.ts";
import { builtInChoices } from "../format/Formats.ts";
import * as Options from "../options/Options.ts";
import { mapFields } from "../session/RedactionFields.ts";
import * as RedactionPolicy from "../session/RedactionPolicy.ts";
import { leastSize } from "../source/paging/Limits.ts";

/** A user's id: nothing that could lead to another path, whatever is made of it. */
export const UserId = Schema.String.pipe(
  Schema.pattern(/^(?!\.{1,2}$)[^\s/\\\p{Cc}\p{Cs}]{1,200}$/u, {
    message: () => "a user's id has from 1 to 200 characters, without spaces, slashes and control characters",
  }),
  Schema.annotations({ identifier: "UserId" }),
);

/** Rows that a page may be asked to hold. */
export const PageSize = Schema.Int.pipe(Schema.between(leastSize, 1000));

/** A policy, see {@link RedactionPolicy.Policy}. */
const Policy = Schema.Struct(
  mapFields((allowed) => Schema.optional(Schema.Literal(...allowed))),
) as unknown as Schema.Schema<RedactionPolicy.Policy>;

/** Each format once: with gzip and without, its parts would have one place and two names. */
const Formats = Schema.NonEmptyArray(
  Schema.Literal(...builtInChoices).annotations({
    message: () => ({ message: `is none of ${builtInChoices.join(", ")}`, override: true }),
  }),
).pipe(
  Schema.filter(
    (formats) => new Set(formats.map((format) => format.replace(/\.gz$/, ""))).size === formats.length,
    {
      message: () => "each format can be named once, with .gz or without",
    },
  ),
);

/** Description of an export. */
export const Description = Schema.Struct({
  /** `"all"`, or ids. */
  users: Schema.Union(Schema.Literal("all"), Schema.NonEmptyArray(UserId)),
  formats: Formats,
  ...SessionFilters.mapQuery(() => Schema.optional(Schema.NonEmptyString)),
  page_size: Schema.optional(PageSize),
  /** Sessions a part. */
  part_rows: Schema.optional(Schema.Int.pipe(Schema.between(1, 1e9))),
  on_invalid: Schema.optional(Schema.Literal("quarantine", "fail")),
  redact: Schema.optional(Policy),
}).annotations({
  identifier: "ExportDescription",
  examples: [{ users: "all", formats: ["parquet"], redact: { ip: "truncate" } }],
});

/** See {@link Description}. */
export type Description = typeof Description.Type;

/** See {@link Description}: names alone, for it says itself what each is. Of its redaction, all that there is to check. */
export const optionNames: Options.Names<Description> = {
  users: Options.any,
  formats: Options.any,
  ...SessionFilters.mapQuery(() => Options.any),
  page_size: Options.any,
  part_rows: Options.any,
  on_invalid: Options.any,
  redact: RedactionPolicy.kind,
};
