/** The server of a queue, as its URL names it: PostgreSQL or Redis. */
import type * as Pg from "pg";
import type { RedisOptions } from "ioredis";
import * as Login from "../postgres/Login.ts";
import * as PostgresValues from "./PostgresValues.ts";
import { missing, QueueError } from "./QueueError.ts";
import * as RedisValues from "./RedisValues.ts";
import type { Values } from "./Values.ts";

export interface QueueServer {
  readonly kind: "postgres" | "redis";
  readonly url: string;
  /** The URL without its password and its settings, for messages. */
  readonly name: string;
}

const kinds: Readonly<Record<string, QueueServer["kind"]>> = {
  "postgres:": "postgres",
  "postgresql:": "postgres",
  "redis:": "redis",
  "rediss:": "redis",
};

const urlOf = (text: string): URL | undefined => {
  try {
    return new URL(text);
  } catch {
    return undefined;
  }
};

/**
 * Read the URL of a server.
 *
 * @throws {TypeError} on another text, which is not quoted as there may be a password in it.
 */
export const parse = (url: string): QueueServer => {
  const read = urlOf(url);
  const kind = kinds[read?.protocol ?? ""];
  if (read === undefined || kind === undefined) {
    throw new TypeError(
      "The URL of a queue must be postgres://user@host/database, or redis://host or rediss://host",
    );
  }
  const { protocol, username, host, pathname } = read;
  if (kind === "redis" && !/^\/?\d*$/.test(pathname)) {
    throw new TypeError(
      "The URL of a queue in Redis must end with its host, or with the number of a database",
    );
  }
  const name = `${protocol}//${username === "" ? "" : `${username}@`}${host}${pathname}`;
  return { kind, url, name };
};

/** Load a client. Within `try`, bundlers take it for what it is: an optional package. */
const loadPg = async (server: QueueServer) => {
  try {
    return (await import("pg")).default;
  } catch (cause) {
    throw missing(server.name, "pg", "pg", cause);
  }
};

/** Load the other one likewise. */
const loadRedis = async (server: QueueServer) => {
  try {
    return await import("ioredis");
  } catch (cause) {
    throw missing(server.name, "ioredis", "ioredis", cause);
  }
};

/** Give what connects to a server of PostgreSQL, with `pg`: the password may have to be looked up. */
export const postgresConfig = async (server: QueueServer): Promise<Pg.ClientConfig> => {
  const { Client } = await loadPg(server);
  try {
    return Login.configOf(Client, server);
  } catch (cause) {
    // Such as a certificate's file that is not there.
    throw new QueueError({
      reason: "Failed",
      server: server.name,
      message: `Cannot use the queue at ${server.name}: ${(cause as Error).message}`,
      cause,
    });
  }
};

/** Give what connects to a server of Redis, with `ioredis`. */
export const redisOptions = ({ url }: QueueServer): RedisOptions => {
  const { protocol, hostname, port, username, password, pathname } = new URL(url);
  const host = hostname.replace(/^\[(.*)\]$/, "$1") || "127.0.0.1";
  const db = Number(pathname.slice(1) || 0);
  return {
    host,
    port: Number(port || 6379),
    db,
    ...(username !== "" && { username: decodeURIComponent(username) }),
    ...(password !== "" && { password: decodeURIComponent(password) }),
    ...(protocol === "rediss:" && { tls: {} }),
    keepAlive: 10_000,
  };
};

export interface OpenOptions {
  /** Schema of PostgreSQL in which the values are. @default {"monocloud_queue"} */
  readonly schema?: string | undefined;
}

/** Open the values at a server. Rejects with a {@link QueueError}. */
export const open = async (server: QueueServer, { schema }: OpenOptions = {}): Promise<Values> => {
  const { name } = server;
  if (server.kind === "postgres") {
    const { Pool } = await loadPg(server);
    return PostgresValues.open({ Pool, config: await postgresConfig(server), name, schema });
  }
  const { Redis } = await loadRedis(server);
  return RedisValues.open({ Redis, options: redisOptions(server), name });
};
