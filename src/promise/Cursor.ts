/** Cursors as texts: what the next call has to know of a user. */
import * as SessionFilters from "../api/SessionFilters.ts";
import * as Either from "effect/Either";
import * as Schema from "effect/Schema";
import type { Batch } from "../session/Batch.ts";
import * as Changes from "../source/incremental/Changes.ts";
import * as WalkCheckpoint from "../source/paging/WalkCheckpoint.ts";
import type { Start } from "../source/SessionSource.ts";
import { CursorError } from "./Errors.ts";

/** The text of a cursor: where a list was read to its end its cursor, in the midst of it the state of its walk. */
const Cursor = Schema.parseJson(Schema.Struct({
  version: Schema.Literal(1),
  ...SessionFilters.mapQuery(() => Schema.optional(Schema.String)),
  cursor: Schema.optional(Changes.Cursor),
  state: Schema.optional(Schema.Struct({
    walk: WalkCheckpoint.WalkState,
    watch: Changes.TrackerState,
  })),
}));
const decode = Schema.decodeUnknownEither(Cursor);

/** Gives the walk to begin with a cursor. Throws a {@link CursorError} on one that can't be used. */
export const startOf = (userId: string, text: unknown, filters: SessionFilters.SessionFilters): Start => {
  if (text === undefined || text === null) return userId;
  const decoded = decode(text);
  if (Either.isLeft(decoded)) {
    throw new CursorError(
      "Damaged",
      `Cannot read changes as the cursor of user ${
        JSON.stringify(userId)
      } is damaged: restore it from a backup, or ` +
        "remove it to read all sessions of the user anew",
    );
  }
  const { cursor, state, version: _, ...query } = decoded.right;
  const before = SessionFilters.fromQuery(query);
  const names = Object.keys(SessionFilters.filters) as ReadonlyArray<keyof SessionFilters.SessionFilters>;
  const changed = names.find((name) => before[name] !== filters[name]);
  if (changed === undefined) return { userId, cursor, state };
  const say = (value: string | undefined) => value === undefined ? "none" : JSON.stringify(value);
  throw new CursorError(
    "Options",
    `Cannot read changes as the cursor of user ${JSON.stringify(userId)} was made with '${changed}' ` +
      `${say(before[changed])}, and it is ${
        say(filters[changed])
      } now: give it as it was, or use other cursors`,
  );
};

export const after = (
  { end, state }: Batch,
  filters: SessionFilters.SessionFilters,
): string | undefined => {
  const known = { version: 1, ...SessionFilters.toQuery(filters) };
  if (end !== undefined) {
    return end.cursor === undefined ? undefined : JSON.stringify({ ...known, cursor: end.cursor });
  }
  return state === undefined ? undefined : JSON.stringify({ ...known, state: state() });
};
