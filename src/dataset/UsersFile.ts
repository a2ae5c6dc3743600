/** The users of an unfinished run, as their file lists them. */
import * as Stream from "effect/Stream";
import type { SinkError } from "../sink/Sink.ts";
import { type DatasetError, failure } from "./DatasetError.ts";
import { join } from "node:path";
import * as Inspect from "./Inspect.ts";
import * as Json from "../format/Json.ts";
import * as Lines from "../format/Lines.ts";
import type { Header } from "./Manifest.ts";
import * as SafeFile from "../sink/SafeFile.ts";
import * as CheckedReader from "./CheckedReader.ts";

const idIn = (line: string): unknown => {
  try {
    return Json.parse(line);
  } catch {
    return undefined;
  }
};

/** Give the lines of such a list. */
export const linesOf = <E, R>(ids: Stream.Stream<string, E, R>): Stream.Stream<string, E, R> =>
  Stream.map(ids, (id) => `${JSON.stringify(id)}\n`);

/** The listed users from the given one on. A list that is not as it was written would leave users out: it is `Corrupt`. */
export const from = (
  root: string,
  header: Header,
  position: number,
): Stream.Stream<string, SinkError | DatasetError> => {
  const name = Inspect.usersOf(header);
  const reader = { root, purpose: "go on with the run", progress: { rows: 0 } };
  async function* lines() {
    if (header.users_file !== undefined) await CheckedReader.checkSum(reader, header.users_file);
    let number = 0;
    try {
      for await (const some of Lines.of(SafeFile.chunks(root, name))) {
        for (const line of some) {
          if (number++ < position) continue;
          const id = idIn(line);
          if (typeof id !== "string") {
            throw CheckedReader.damaged(reader, name, `has no user's id on line ${number}`);
          }
          yield id;
        }
      }
    } catch (error) {
      throw error instanceof RangeError
        ? CheckedReader.damaged(reader, name, `can't be read (${error.message})`)
        : error;
    }
  }
  return Stream.fromAsyncIterable(lines(), failure("Open", join(root, name)));
};
