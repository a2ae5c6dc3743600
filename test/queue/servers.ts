/** The servers that a queue may have, each real: what is tested on one is tested on the other. */
import { describe } from "vitest";
import { hasPostgres, postgresForFile } from "../warehouse/postgres.ts";
import { hasRedis, redisForFile } from "./redis.ts";

export interface Server {
  /** The URL of an empty place, with its password. */
  readonly url: () => Promise<string>;
  readonly kill: () => Promise<void>;
  readonly start: () => Promise<void>;
}

/** Describe what holds on each server. Skipped by its name where that is not installed. */
export const onEachServer = (what: (server: Server, kind: "postgres" | "redis") => void): void => {
  describe.skipIf(!hasPostgres)("on PostgreSQL", () => {
    const postgres = postgresForFile({ settings: { max_connections: 200 } });
    what({
      url: async () => {
        const { url, password } = await postgres().createDatabase();
        const whole = new URL(url);
        whole.password = password;
        return whole.href;
      },
      kill: () => postgres().kill(),
      start: () => postgres().start(),
    }, "postgres");
  });
  describe.skipIf(!hasRedis)("on Redis", () => {
    const redis = redisForFile();
    let places = 0;
    what({
      url: () => Promise.resolve(redis().url.replace(/\d+$/, `${places++ % 16}`)),
      kill: () => redis().kill(),
      start: () => redis().start(),
    }, "redis");
  });
};
