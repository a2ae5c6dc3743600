/** The Parquet schema of sessions: a column for each of `Columns.ts`. */
import type { SchemaElement } from "hyparquet-writer";
import type * as Columns from "../../session/Columns.ts";

/** The most rows of a row group: readers of a file hold a whole one. */
export const MOST_ROWS = 1 << 20;

const text = { type: "BYTE_ARRAY", converted_type: "UTF8", logical_type: { type: "STRING" } } as const;

/** The schema of one column: the same whatever the sessions are. */
const elements = ({ name, kind, nullable }: Columns.Column): Array<SchemaElement> => {
  const repetition_type = nullable ? "OPTIONAL" : "REQUIRED";
  switch (kind) {
    case "text":
    case "json":
      return [{ name, repetition_type, ...text }];
    case "number":
      return [{ name, repetition_type, type: "DOUBLE" }];
    case "timestamp":
      return [{
        name,
        repetition_type,
        type: "INT64",
        converted_type: "TIMESTAMP_MILLIS", // for readers older than logical types
        logical_type: { type: "TIMESTAMP", isAdjustedToUTC: true, unit: "MILLIS" },
      }];
    case "text_list":
      return [
        { name, repetition_type, num_children: 1, converted_type: "LIST", logical_type: { type: "LIST" } },
        { name: "list", repetition_type: "REPEATED", num_children: 1 },
        { name: "element", repetition_type: "REQUIRED", ...text },
      ];
  }
};

/** Give the schema of files with these columns: the same whatever the sessions are. */
export const schemaOf = (columns: ReadonlyArray<Columns.Column>): ReadonlyArray<SchemaElement> => [
  { name: "session", num_children: columns.length },
  ...columns.flatMap(elements),
];
