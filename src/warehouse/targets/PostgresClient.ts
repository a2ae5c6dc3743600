/**
 * The client of PostgreSQL, of the package `pg`, as a connection uses it: a call fails once it is not answered in time, and
 * every failure is a {@link TargetError}.
 */
import type * as Pg from "pg";
import type { CopyStreamQuery } from "pg-copy-streams";
import { TargetError } from "../Target.ts";
import * as PostgresErrors from "./PostgresErrors.ts";
import * as Login from "../../postgres/Login.ts";

export interface ClientOptions extends PostgresErrors.Database {
  readonly url: string;
  readonly password: string | undefined;
  /** The longest time that a call may take, in milliseconds. */
  readonly patience: number;
}

/** A client whose calls are made within an `attempt`, but for `close` and `destroy`. */
export type Client = Awaited<ReturnType<typeof make>>;

/** Wait for a package that may not be installed. */
const load = <A>(module: Promise<A>, { name }: ClientOptions, which: string): Promise<A> =>
  module.catch((cause) => {
    throw new TargetError({
      reason: "Missing",
      target: name,
      message:
        `Cannot connect to ${name} as the package ${which} is not installed: npm install pg pg-copy-streams`,
      cause,
    });
  });

/** Make a client of `pg` that is not connected yet. */
const clientOf = (Client: typeof Pg.Client, options: ClientOptions): Pg.Client => {
  try {
    return Login.clientOf(Client, options, { connectionTimeoutMillis: 30_000 });
  } catch (cause) {
    // Such as a certificate's file that is not there.
    throw new TargetError({
      reason: "Missing",
      target: options.name,
      message: `Cannot connect to ${options.name}: ${(cause as Error).message}`,
      cause,
    });
  }
};

/** Send pieces one at a time, and none after an error: the stream has no connection any more. */
const send = (stream: CopyStreamQuery, pieces: Iterator<Uint8Array>): Promise<void> =>
  new Promise((resolve, reject) => {
    let isOver = false;
    stream.on("finish", resolve);
    stream.on("error", (error) => {
      isOver = true;
      reject(error);
    });
    const give = () => {
      try {
        while (!isOver) {
          const { done, value } = pieces.next();
          if (done === true) return void stream.end();
          if (!stream.write(value)) return void stream.once("drain", give);
        }
      } catch (error) {
        stream.destroy(error as Error);
      }
    };
    give();
  });

/** Load the packages that are needed, and make a client that is not connected yet. */
export const make = async (options: ClientOptions) => {
  const { patience } = options;
  const { default: pg } = await load(import("pg"), options, "pg");
  const { from } = await load(import("pg-copy-streams"), options, "pg-copy-streams");
  const client = clientOf(pg.Client, options);
  let lost: Error | undefined;
  // Where nobody waits for an answer, the next call tells.
  client.on("error", (error) => lost ??= error);
  /** Lets go of the connection at once. */
  const destroy = (): void =>
    (client as unknown as { readonly connection?: { readonly stream?: { destroy: () => void } } })
      .connection?.stream?.destroy();

  return {
    /** Fails a call that is not answered, and lets go of its connection: the server rolls back then. */
    attempt: async <A>(work: () => Promise<A>): Promise<A> => {
      if (lost !== undefined) throw PostgresErrors.of(lost, options);
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => {
          const late = new Error(`no answer within ${patience / 1000} s`);
          lost ??= late;
          destroy();
          reject(late);
        }, patience);
      });
      try {
        return await Promise.race([work(), late]);
      } catch (error) {
        throw PostgresErrors.of(error, options);
      } finally {
        clearTimeout(timer);
      }
    },
    connect: () => client.connect(),
    query: async (statement: string, parameters: ReadonlyArray<unknown> = []) => {
      const { rows, rowCount, command } = await client.query<Record<string, unknown>>(statement, [
        ...parameters,
      ]);
      return { rows, count: rowCount ?? 0, command };
    },
    /** Sends bytes to a `COPY FROM STDIN`. */
    copy: (statement: string, pieces: Iterator<Uint8Array>): Promise<void> =>
      send(client.query(from(statement)), pieces),
    close: async (): Promise<void> => {
      const isLost = lost !== undefined;
      lost ??= new Error("the connection was closed");
      if (!isLost) {
        await Promise.race([client.end().catch(() => undefined), delay(1000)]);
      }
      destroy();
    },
    destroy,
  };
};

const delay = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    (timer as { unref?: () => void }).unref?.();
  });
