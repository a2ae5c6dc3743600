/**
 * Storage of exports on the disk.
 *
 * ```
 * <folder>/
 *   lock.json                 which server's it is
 *   20261124T061500000Z-0f…/  an export
 *     job.json                what was asked for; written once
 *     status.json             what has become of it; not there before it has begun
 *     data/                   the dataset
 *   20261124T061500000Z-0f….deleted/  one that is being removed
 * ```
 *
 * @module
 */
import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import * as Effect from "effect/Effect";
import * as Either from "effect/Either";
import * as Schema from "effect/Schema";
import { failure } from "../../dataset/DatasetError.ts";
import * as Layout from "../../dataset/Layout.ts";
import * as Json from "../../format/Json.ts";
import * as SafeFile from "../../sink/SafeFile.ts";
import * as FileSink from "../../sink/FileSink.ts";
import * as Job from "./Job.ts";

/** The request for an export. */
export const JobRequest = Schema.Struct({ id: Job.Id, created: Schema.String, description: Job.Description });

/** See {@link JobRequest}. */
export type JobRequest = typeof JobRequest.Type;

/** The state of an export. */
export const State = Schema.Struct({
  status: Job.Status,
  progress: Schema.optional(Job.Progress),
  error: Schema.optional(Job.Failure),
});

/** See {@link State}. */
export type State = typeof State.Type;

const decodeRequest = Json.lineDecoder(JobRequest, "export");
const decodeState = Json.lineDecoder(State, "status");
const isId = Schema.is(Job.Id);

/** The end of a folder's name whose export has been removed: what is left of it is nobody's. */
const DELETED = ".deleted";

/** The exports in a server's folder. */
export type JobStore = ReturnType<typeof make>;

/** The store in a folder. */
export const make = (folder: string) => {
  const attempt = <A>(path: string, work: () => Promise<A>) =>
    Effect.tryPromise({ try: work, catch: failure("Open", join(folder, path)) });
  const textOf = (path: string) =>
    Effect.map(Layout.textOf(folder, path, Layout.most.manifest), (text = "") => text);
  const write = (id: string, name: "job.json" | "status.json", value: unknown) =>
    Layout.replace(folder, `${id}/${name}`, `${JSON.stringify(value, null, 2)}\n`);
  return {
    /** Gives the folder of an export's dataset. Fails where it is not the server's own. */
    dataOf: (id: string) =>
      Effect.as(
        attempt(`${id}/data`, () => SafeFile.namesIn(folder, `${id}/data`)),
        join(folder, id, "data"),
      ),
    /** Puts a new export, which has yet to begin, on the disk: all of it or nothing. */
    add: (request: JobRequest) =>
      attempt(request.id, async () => {
        if (await SafeFile.makeFolder(folder, request.id)) await FileSink.syncFolder(folder);
      }).pipe(
        Effect.zipRight(write(request.id, "job.json", request)),
        Effect.onError(() =>
          Effect.promise(() =>
            rm(join(folder, request.id), { recursive: true, force: true }).catch(() => undefined)
          )
        ),
      ),
    /** Writes down what has become of one. */
    writeState: (id: string, state: State) => write(id, "status.json", state),
    /** Reads the request; none if that can't be read. */
    request: (id: string) =>
      Effect.map(textOf(`${id}/job.json`), (text) => Either.getRight(decodeRequest(text))),
    /** Reads the state: an export of which nothing else is known has yet to begin. */
    state: (id: string) =>
      Effect.map(
        textOf(`${id}/status.json`),
        (text) => Either.getOrElse(decodeState(text), (): State => ({ status: "queued" })),
      ),
    /** Removes an export in one step: killed before it, it is whole, and after it, it is not known any more. */
    remove: (id: string) =>
      attempt(id, async () => {
        await SafeFile.checkPlace(folder, `${id}/job.json`);
        await rename(join(folder, id), join(folder, `${id}${DELETED}`));
      }),
    /** Removes what is left of exports that were removed: of one, or of all. Links are removed, and not followed. */
    sweep: (only?: string) =>
      attempt("", async () => {
        const ids = (await SafeFile.namesIn(folder)).filter((name) => name.endsWith(DELETED))
          .map((name) => name.slice(0, -DELETED.length))
          .filter((id) => only === undefined ? isId(id) : id === only);
        // No file goes before it is on the disk that its export has gone.
        if (ids.length > 0) await FileSink.syncFolder(folder);
        for (const id of ids) await rm(join(folder, `${id}${DELETED}`), { recursive: true, force: true });
      }),
    /** The ids of all exports, the earliest first. */
    ids: Effect.map(Layout.namesIn(folder), (names) => names.filter((name) => isId(name)).sort()),
  };
};
