/** Whose sessions to export: what `--user`, `--users-file` and `--all-users` mean. */
import { createReadStream } from "node:fs";
import process from "node:process";
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import * as UserList from "../../source/UserList.ts";
import type { ApiError } from "../../api/ApiError.ts";
import type { TenantClient } from "../../api/TenantClient.ts";
import { UsageError, usageError as fail } from "../ExitCode.ts";

export type Users<E = never> = UserList.UserList<UsageError | ApiError | E, TenantClient>;

/** No id is anywhere near as long: a file with longer lines is not a list of users. */
const LONGEST = 1000;

const named = (path: string): string => path === "-" ? "standard input" : path;

const idIn = (line: string, number: number, path: string): string => {
  const id = line.trim();
  if (id.length <= LONGEST && !/[\s,;"\p{Cc}]/u.test(id)) return id;
  const quoted = JSON.stringify(id.slice(0, 60));
  throw fail(
    `Line ${number} of ${named(path)} is not a user's id: ${quoted}. Give one id a line and nothing else`,
  );
};

/** The ids in UTF-8 text, one a line; empty lines are left out. */
async function* idsOf(path: string): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const input: AsyncIterable<Uint8Array> = path === "-" ? process.stdin : createReadStream(path);
  let rest = "";
  let number = 0;
  for await (const bytes of input) {
    // A CR at the end may be half of a CRLF.
    const lines = (rest + decoder.decode(bytes, { stream: true })).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    if (rest.length > LONGEST) idIn(rest, number + 1, path);
    for (const line of lines) {
      const id = idIn(line, ++number, path);
      if (id !== "") yield id;
    }
  }
  const id = idIn(rest + decoder.decode(), ++number, path);
  if (id !== "") yield id;
}

const reasonFor = (cause: unknown): string => {
  const { code, message } = cause as { readonly code?: unknown; readonly message: string };
  if (code === "ENOENT") return "there is no such file";
  if (code === "ERR_ENCODING_INVALID_ENCODED_DATA" || cause instanceof TypeError) {
    return "it is not UTF-8 text";
  }
  return message;
};

const asUsageError = (path: string) => (cause: unknown): UsageError =>
  cause instanceof UsageError
    ? cause
    : fail(`Cannot read the users from ${named(path)}: ${reasonFor(cause)}`);

const readAll = (path: string): Effect.Effect<ReadonlySet<string>, UsageError> =>
  Effect.tryPromise({
    try: async () => {
      const ids = new Set<string>();
      for await (const id of idsOf(path)) ids.add(id);
      return ids;
    },
    catch: asUsageError(path),
  });

/**
 * Users from a file or from standard input, one a line. A file is read through before the first request is made, so that
 * a bad line is told at once. Holds the ids, to leave out repeated ones: about 100 bytes each.
 */
const fromFile = (path: string): Effect.Effect<Users, UsageError> =>
  Effect.gen(function* () {
    const all = path === "-" ? undefined : yield* readAll(path);
    const total = all?.size;
    const identity = all === undefined ? "standard input" : UserList.identityOf(all);
    const none = fail(`${path === "-" ? "Standard input" : path} names no users: give one id a line`);
    if (total === 0) return yield* none;
    const seen = new Set<string>();
    let ended = false;
    const ids = Stream.fromAsyncIterable(idsOf(path), asUsageError(path)).pipe(
      Stream.filter((id) => !seen.has(id) && seen.add(id) !== undefined),
      Stream.concat(Stream.execute(Effect.suspend(() => {
        ended = true;
        return seen.size === 0 ? none : Effect.void;
      }))),
    );
    return {
      ids,
      total: () => total ?? (ended ? seen.size : undefined),
      identity,
      unverifiedReasons: () => [],
    };
  });

/** The users the command line asks for; exactly one way of naming them is wanted. */
export const from = (options: {
  readonly user: ReadonlyArray<string>;
  readonly usersFile: string | undefined;
  readonly allUsers: boolean;
}): Effect.Effect<Users, UsageError> => {
  const { user, usersFile, allUsers } = options;
  const ways = [user.length > 0, usersFile !== undefined, allUsers].filter((way) => way).length;
  if (ways === 0) return fail("Whose sessions? Give --user ID, --users-file FILE or --all-users");
  if (ways > 1) return fail("--user, --users-file and --all-users can't be combined: give one of them");
  if (usersFile !== undefined) return fromFile(usersFile);
  return Effect.succeed(allUsers ? UserList.all() : UserList.of(user));
};
