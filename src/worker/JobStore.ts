/**
 * What is kept of exports on the disk.
 *
 * ```
 * <folder>/
 *   lock.json                 which worker's it is
 *   20261124T061500000Z-0f…/  an export
 *     job.json                what was asked for; written once
 *     status.json             what has become of it; not there before it has begun
 *     data/                   the dataset
 * ```
 *
 * @module
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import * as Effect from "effect/Effect";
import * as Option from "effect/Option";
import * as Schema from "effect/Schema";
import * as Folder from "../dataset/Folder.ts";
import type { OutputError } from "../output/Output.ts";
import * as Job from "./Job.ts";

/** What was asked for. */
export const Asked = Schema.Struct({ id: Job.Id, created: Schema.String, description: Job.Description });

/** See {@link Asked}. */
export type Asked = typeof Asked.Type;

/** What has become of it. */
export const Standing = Schema.Struct({
  status: Job.Status,
  progress: Schema.optional(Job.Progress),
  error: Schema.optional(Job.Failure),
});

/** See {@link Standing}. */
export type Standing = typeof Standing.Type;

const decodeAsked = Schema.decodeUnknownOption(Schema.parseJson(Asked));
const decodeStanding = Schema.decodeUnknownOption(Schema.parseJson(Standing));
const isId = Schema.is(Job.Id);

/** The exports in a worker's folder. */
export interface JobStore {
  /** The folder of an export's dataset. */
  readonly dataOf: (id: string) => string;
  /** Puts a new export, which has yet to begin, on the disk: all of it or nothing. */
  readonly add: (asked: Asked) => Effect.Effect<void, OutputError>;
  /** Writes down what has become of one. */
  readonly stand: (id: string, standing: Standing) => Effect.Effect<void, OutputError>;
  /** What was asked for; none if that can't be read. */
  readonly asked: (id: string) => Effect.Effect<Option.Option<Asked>, OutputError>;
  /** What has become of it: one of which nothing else is known has yet to begin. */
  readonly standing: (id: string) => Effect.Effect<Standing, OutputError>;
  /** The ids of all exports, the earliest first. */
  readonly ids: Effect.Effect<ReadonlyArray<string>, OutputError>;
}

/** The store in a folder. */
export const make = (folder: string): JobStore => {
  const fileOf = (id: string, name: "job.json" | "status.json") => join(folder, id, name);
  const write = (id: string, name: "job.json" | "status.json", value: unknown) =>
    Folder.replace(fileOf(id, name), `${JSON.stringify(value, null, 2)}\n`);
  return {
    dataOf: (id) => join(folder, id, "data"),
    add: (asked) => {
      const own = join(folder, asked.id);
      return Folder.makeFolder(own).pipe(
        Effect.zipRight(write(asked.id, "job.json", asked)),
        Effect.onError(() =>
          Effect.promise(() => rm(own, { recursive: true, force: true }).catch(() => undefined))
        ),
      );
    },
    stand: (id, standing) => write(id, "status.json", standing),
    asked: (id) => Effect.map(Folder.textOf(fileOf(id, "job.json")), decodeAsked),
    standing: (id) =>
      Effect.map(
        Folder.textOf(fileOf(id, "status.json")),
        (text) => Option.getOrElse(decodeStanding(text), (): Standing => ({ status: "queued" })),
      ),
    ids: Effect.map(Folder.namesIn(folder), (names) => names.filter((name) => isId(name)).sort()),
  };
};
