/**
 * Values in Redis: one hash of all, and their keys in order, both changed by scripts, which run alone. A version is the time of
 * its replacement in microseconds, so that none comes again for a value that was removed and set anew.
 */
import type { Redis, RedisOptions } from "ioredis";
import * as QueueError from "./QueueError.ts";
import type { Values } from "./Values.ts";

export interface RedisValuesOptions {
  /** The client of `ioredis`. */
  readonly Redis: typeof Redis;
  readonly options: RedisOptions;
  /** Name of the server, for messages. */
  readonly name: string;
}

/** The longest time that a call may take, in milliseconds. */
const PATIENCE = 5000;

// In braces is what places a key in a cluster: the scripts need both in one place.
const HASH = "monocloud-sessions:{values}";
const KEYS = "monocloud-sessions:{values}:keys";

/** Beginnings of scripts: the time in microseconds, and what a key has. */
const NOW = `local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
`;
const FIND = `local function find(key)
  local found = redis.call('HGET', KEYS[1], key)
  if not found then return 0, false end
  local at = string.find(found, ' ', 1, true)
  return tonumber(string.sub(found, 1, at - 1)), string.sub(found, at + 1)
end
`;

const read = `${NOW}${FIND}local version, value = find(ARGV[1])
return {string.format('%.0f', now), string.format('%.0f', version), value}`;

/** Replaces a value of this version, or of any. */
const replace = `${NOW}${FIND}local version = find(ARGV[1])
if ARGV[2] ~= 'any' and version ~= tonumber(ARGV[2]) then return 0 end
local next = string.format('%.0f', math.max(version + 1, now))
redis.call('HSET', KEYS[1], ARGV[1], next .. ' ' .. ARGV[3])
redis.call('ZADD', KEYS[2], 0, ARGV[1])
return 1`;

const remove = `redis.call('HDEL', KEYS[1], ARGV[1])
return redis.call('ZREM', KEYS[2], ARGV[1])`;

const list = `${NOW}${FIND}local all = {}
local least = ARGV[1] == '' and '-' or '[' .. ARGV[1]
local most = ARGV[1] == '' and '+' or '[' .. ARGV[1] .. '\\255'
for _, key in ipairs(redis.call('ZRANGEBYLEX', KEYS[2], least, most)) do
  local version, value = find(key)
  all[#all + 1] = {key, value, string.format('%.0f', math.max(0, now - version))}
end
return all`;

/** Connect. */
export const open = async ({ Redis, options, name }: RedisValuesOptions): Promise<Values> => {
  const redis = new Redis({
    ...options,
    lazyConnect: true,
    connectTimeout: PATIENCE,
    // Calls wait for a server that starts again, for as long.
    commandTimeout: PATIENCE,
    maxRetriesPerRequest: null,
    retryStrategy: (times) => Math.min(times * 50, 500),
    // It may have been done already.
    autoResendUnfulfilledCommands: false,
  });
  // Calls fail by themselves, and say less of why.
  let lost: Error | undefined;
  redis.on("error", (error: Error) => lost = error);
  redis.on("ready", () => lost = undefined);
  const call = async (script: string, ...words: ReadonlyArray<string>): Promise<unknown> => {
    try {
      return await redis.eval(script, 2, HASH, KEYS, ...words);
    } catch (cause) {
      throw QueueError.of(name, lost ?? cause);
    }
  };
  try {
    await redis.connect();
  } catch (cause) {
    redis.disconnect();
    throw QueueError.of(name, lost ?? cause);
  }
  return {
    read: async (key) => {
      const [now, version, value] = await call(read, key) as [string, string, string | null];
      return { value: value ?? undefined, version: Number(version), now: Number(now) / 1000 };
    },
    replace: async (key, version, value) => await call(replace, key, `${version}`, value) === 1,
    set: async (key, value) => void await call(replace, key, "any", value),
    remove: async (key) => void await call(remove, key),
    list: async (prefix) =>
      (await call(list, prefix) as ReadonlyArray<[string, string, string]>)
        .map(([key, value, age]) => ({ key, value, age: Number(age) / 1000 })),
    close: () => Promise.resolve(redis.disconnect()),
  };
};
