/**
 * The plan of a run in shards: its users, dealt in the order of their list. Each shard gets a folder that holds all it takes to
 * walk it, so that whoever does needs nothing else of the dataset but, to prune, its parts.
 */
import * as Effect from "effect/Effect";
import * as Option from "effect/Option";
import * as Stream from "effect/Stream";
import * as Struct from "effect/Struct";
import type { SinkError } from "../sink/Sink.ts";
import * as Cursors from "./Cursors.ts";
import type { DatasetError } from "./DatasetError.ts";
import * as Layout from "./Layout.ts";
import * as Manifest from "./Manifest.ts";
import * as ShardFolder from "./ShardFolder.ts";
import * as UsersFile from "./UsersFile.ts";

/** A user as he is dealt. */
interface Dealt {
  readonly userId: string;
  /** There for those that were begun or failed before; they come first. */
  readonly begun?: Manifest.RunProgress["open"][number];
  readonly weight: number;
}

export interface PlanOptions {
  readonly root: string;
  readonly header: Manifest.Header;
  readonly manifest: Manifest.Manifest;
  /** The most shards. */
  readonly count: number;
  readonly weightOf: ((userId: string) => number) | undefined;
  readonly areListed: boolean | undefined;
  readonly prove: Layout.Proof;
}

/** Write the cursors of these users beside their list. */
const writeCursors = (
  options: PlanOptions,
  folder: string,
  users: ReadonlyArray<Dealt>,
  cursors: Cursors.ByUser,
) =>
  Effect.gen(function* () {
    const { root, header: { journal_version }, prove } = options;
    const path = Layout.partPath(Manifest.folderOf("cursors", journal_version), 0, "ndjson");
    yield* ShardFolder.makeFolder(root, `${folder}/${path.slice(0, path.indexOf("/"))}`);
    const lines = users.flatMap(({ userId }) => {
      const cursor = cursors.get(userId);
      return cursor === undefined ? [] : [Cursors.lineOf(userId, cursor, journal_version)];
    });
    return yield* Layout.writeLines(root, `${folder}/${path}`, Stream.fromIterable(lines), prove);
  });

/** Write the folder of a shard; what describes it comes last. */
const writeShard = (
  options: PlanOptions,
  key: string,
  shard: number,
  users: ReadonlyArray<Dealt>,
  cursors: Cursors.ByUser | undefined,
): Effect.Effect<void, SinkError | DatasetError> =>
  Effect.gen(function* () {
    const { root, header, manifest, areListed, prove } = options;
    const folder = ShardFolder.folderOf(ShardFolder.idOf(key, shard));
    yield* ShardFolder.makeFolder(root, folder);
    const path = Layout.newUsersName();
    const listed = users.flatMap(({ userId, begun }) => begun ? [] : userId);
    const lines = UsersFile.linesOf(Stream.fromIterable(listed));
    const { bytes, sha256 } = yield* Layout.writeLines(root, `${folder}/${path}`, lines, prove);
    const text = Manifest.lineOf("Header", {
      ...Struct.omit(header, "shards", "claims"),
      users: users.length,
      users_file: { path, bytes, sha256 },
      shard: {
        key,
        shard,
        weight: users.reduce((sum, { weight }) => sum + weight, 0),
        ...(areListed && { listed: true as const }),
        ...(cursors && { cursors: yield* writeCursors(options, folder, users, cursors) }),
        page_size: manifest.page_size,
      },
      run_progress: { ...Manifest.noProgress(), open: users.flatMap(({ begun }) => begun ?? []) },
    }, header.journal_version);
    yield* Layout.replace(root, `${folder}/${Layout.names.shard}`, text, prove);
  });

/** Give the users in the order in which they are dealt. */
const usersOf = ({ root, header, weightOf }: PlanOptions) => {
  const weigh = (userId: string): number => {
    const weight = weightOf?.(userId) ?? 1;
    return weight > 0 && weight < Infinity ? weight : 1;
  };
  const begun = header.run_progress.open.map((begun): Dealt => ({
    userId: begun.user_id,
    begun,
    weight: weigh(begun.user_id),
  }));
  const listed = Stream.map(
    UsersFile.from(root, header, 0),
    (userId): Dealt => ({ userId, weight: weigh(userId) }),
  );
  return Stream.concat(Stream.fromIterable(begun), listed);
};

/** Deal the users to shards: who weighs more than a shard's share is alone, the others are dealt as ranges of their list. */
const deal = (options: PlanOptions) =>
  Effect.gen(function* () {
    const { header, weightOf } = options;
    const count = Math.min(options.count, header.users);
    const total = weightOf === undefined
      ? header.users
      : yield* Stream.runFold(usersOf(options), 0, (sum, { weight }) => sum + weight);
    const isHeavy = ({ weight }: Dealt) => count > 1 && weight > total / count;
    const heavy: Array<Dealt> = weightOf === undefined
      ? []
      : [...yield* Stream.runCollect(Stream.filter(usersOf(options), isHeavy))];
    const others = {
      shards: Math.max(1, count - heavy.length),
      weight: heavy.reduce((left, { weight }) => left - weight, total),
    };
    let dealt = 0;
    let number = 0;
    const ranges = Stream.filter(usersOf(options), (user) => !isHeavy(user)).pipe(
      Stream.map((user) => {
        const range = Math.floor(dealt * others.shards / others.weight);
        dealt += user.weight;
        return { user, range: Math.min(others.shards - 1, range) };
      }),
      Stream.groupAdjacentBy(({ range }) => range),
      Stream.map(([, users]) => [...users].map(({ user }) => user)),
    );
    return Stream.concat(Stream.fromIterable(heavy.map((user) => [user])), ranges).pipe(
      Stream.map((users) => ({ shard: ++number, users })),
    );
  });

/** Write the folders of all shards; gives how many there are. What a process before has left of them it leaves alone. */
export const write = (options: PlanOptions): Effect.Effect<number, SinkError | DatasetError> =>
  Effect.gen(function* () {
    const { root, header, manifest } = options;
    const key = header.shards!;
    yield* ShardFolder.makeFolder(root, Layout.names.shards);
    yield* ShardFolder.makeFolder(root, ShardFolder.folderOf(key));
    const cursors = header.kind === "full" ? undefined : yield* Cursors.load(root, manifest.parts);
    const last = yield* (yield* deal(options)).pipe(
      Stream.mapEffect(({ shard, users }) =>
        Effect.as(writeShard(options, key, shard, users, cursors), shard)
      ),
      Stream.runLast,
    );
    return Option.getOrElse(last, () => 0);
  });
