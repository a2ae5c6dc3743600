/** Parquet files: their size and what writing them takes, beside DuckDB and parquet-wasm, and what a query has to read. */
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import * as Arrow from "apache-arrow";
import { type AsyncBuffer, parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { Batch, Columns, Formats, Session } from "monocloud-sessions";
import * as Wasm from "parquet-wasm";
import { median } from "../measure.ts";
import { sameRows } from "../outputs.ts";
import type { Section } from "../report.ts";
import type { Bench } from "../case.ts";

const PAGES = 200, SIZE = 1000;

const types: Readonly<Record<Columns.Kind, Arrow.DataType>> = {
  text: new Arrow.Utf8(),
  json: new Arrow.Utf8(),
  number: new Arrow.Float64(),
  timestamp: new Arrow.TimestampMillisecond("UTC"),
  text_list: new Arrow.List(new Arrow.Field("element", new Arrow.Utf8(), false)),
};

/** The same values as an Arrow table, which is what parquet-wasm takes. */
const arrowOf = (batches: ReadonlyArray<Batch.Batch>): Arrow.Table => {
  const vectors = Columns.columns.map((column) => {
    const values = batches.flatMap((batch) => {
      const { userId, rows: { slices } } = Batch.toBytes(batch);
      return slices.from.map((_, row): unknown => {
        const value = Columns.valueAt(column, userId, slices, row);
        return column.kind === "timestamp" ? Number(value) * 1000 : value;
      });
    });
    return [column.name, Arrow.vectorFromArray(values, types[column.kind])] as const;
  });
  return new Arrow.Table(Object.fromEntries(vectors));
};

const seconds = async (work: () => unknown): Promise<number> => {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
};

/** How much of a file is read to answer a query of one day. */
const readFor = async (path: string, day: { readonly from: Date; readonly to: Date }) => {
  const bytes = await readFile(path);
  let read = 0;
  const file: AsyncBuffer = {
    byteLength: bytes.length,
    slice: (start, end = bytes.length) => {
      read += end - start;
      return new Uint8Array(bytes.subarray(start, end)).buffer;
    },
  };
  const metadata = await parquetMetadataAsync(file);
  const rows = await parquetReadObjects({
    file,
    metadata,
    columns: ["user_id", "initiated_at", "country"],
    filter: { initiated_at: { $gte: day.from, $lt: day.to } },
    usePageIndex: true,
  });
  return { rows: rows.length, read, rowGroups: metadata.row_groups.length };
};

export const run = async ({ tenant, folder }: Bench): Promise<Section> => {
  await tenant.behave({});
  const userId = `good-${PAGES * SIZE}-0`;
  const batches: Array<Batch.Batch> = [];
  for (let page = 1; page <= PAGES; page++) {
    const answer = await fetch(`${tenant.url}/api/users/${userId}/sessions?page=${page}&size=${SIZE}`);
    const found = Session.scan(new Uint8Array(await answer.arrayBuffer()));
    if (typeof found !== "object") throw new Error("The tenant gave no page");
    batches.push({ userId, rows: { _tag: "Bytes", slices: found.slices }, quarantined: [] });
  }
  const path = (name: string) => join(folder, `${name}.parquet`);

  const ours = () => {
    const encoder = Formats.make("parquet").make();
    const parts = [...batches.map((batch) => encoder.encode(batch)), encoder.finish()];
    return Buffer.concat(parts);
  };
  await writeFile(path("ours"), ours());

  const connection = await (await DuckDBInstance.create(":memory:")).connect();
  await connection.run("SET threads = 1; SET preserve_insertion_order = true");
  await connection.run(`CREATE TABLE sessions AS FROM '${path("ours")}'`);
  const duck = () =>
    connection.run(`COPY sessions TO '${path("duck")}' (FORMAT parquet, COMPRESSION snappy)`);

  const arrow = Arrow.tableToIPC(arrowOf(batches), "stream");
  const properties = () => new Wasm.WriterPropertiesBuilder().setCompression(Wasm.Compression.SNAPPY).build();
  const wasm = () => Wasm.writeParquet(Wasm.Table.fromIPCStream(arrow), properties());
  await writeFile(path("wasm"), wasm());
  await duck();
  await sameRows([path("ours"), path("duck"), path("wasm")]);

  const writers = { ours, DuckDB: duck, "parquet-wasm": wasm };
  const taken = new Map<string, Array<number>>(Object.keys(writers).map((name) => [name, []]));
  for (let round = 0; round < 7; round++) {
    for (const [name, work] of Object.entries(writers)) taken.get(name)!.push(await seconds(work));
  }
  const sizes = {
    ours: (await stat(path("ours"))).size,
    DuckDB: (await stat(path("duck"))).size,
    "parquet-wasm": (await stat(path("wasm"))).size,
  };

  const [{ day }] = (await connection.runAndReadAll(
    "SELECT date_trunc('day', initiated_at)::DATE::VARCHAR AS day FROM sessions GROUP BY 1 ORDER BY count(*) DESC LIMIT 1",
  )).getRowObjectsJson() as unknown as [{ day: string }];
  connection.closeSync();
  const from = new Date(`${day}T00:00:00Z`);
  const found = await readFor(path("ours"), { from, to: new Date(from.getTime() + 86_400_000) });
  const duckRead = await readFor(path("duck"), { from, to: new Date(from.getTime() + 86_400_000) });

  return {
    title: "Parquet",
    words:
      `${
        (PAGES * SIZE).toLocaleString("en")
      } sessions of one user, snappy, all values in memory before; DuckDB on one ` +
      "thread; parquet-wasm from Arrow IPC, which costs something to make and is not counted. DuckDB reads the same rows out of " +
      `all three. The query is for three columns of one day, ${day}, which hyparquet reads by the statistics in the file.`,
    tables: [
      {
        title: "Size, and time to write",
        rows: Object.entries(sizes).map(([name, bytes]) => ({
          writer: name,
          MB: bytes / 1e6,
          "times DuckDB's size": bytes / sizes.DuckDB,
          "µs a session": median(taken.get(name)!) / (PAGES * SIZE) * 1e6,
          "times DuckDB's time": median(
            taken.get(name)!.map((value, round) => value / taken.get("DuckDB")![round]!),
          ),
        })),
      },
      {
        title: "One day of it",
        rows: [["ours", found, sizes.ours] as const, ["DuckDB", duckRead, sizes.DuckDB] as const].map((
          [writer, { rows, read, rowGroups }, size],
        ) => ({
          writer,
          "rows found": rows,
          "row groups": rowGroups,
          "MB read": read / 1e6,
          "% of the file": read / size * 100,
        })),
      },
    ],
  };
};
