/** A stream made off the thread, of a tenant of which not everything can be verified. */
import { describe, expect, it } from "vitest";
import { make, type Sandbox } from "../../src/sandbox/mod.ts";
import { stream, type Unverified } from "../../src/thread/mod.ts";
import { doubtful } from "../doubtful.ts";
import { intercepted, keysIn, keysOf } from "../cli/command.ts";
import { onDeno } from "../runtime.ts";
import { spawner } from "./threads.ts";

/** A tenant whose list of users can't be verified. */
const tenant = async () => {
  const sandbox = make({ users: 30, sessionsPerUser: 3 });
  const reversed: Sandbox = {
    ...sandbox,
    fetch: async (request) => {
      const answer = await sandbox.fetch(request);
      return new URL(request.url).pathname.endsWith("/users") ? doubtful(answer) : answer;
    },
  };
  const { env } = await intercepted(reversed, () => undefined);
  const options = { domain: env.MONOCLOUD_DOMAIN, apiKey: sandbox.key, rate: 10_000, pageSize: 10 };
  return { sandbox, options: { ...options, users: "all" as const, ...spawner().options } };
};

describe.skipIf(onDeno)("a stream off the thread", () => {
  it("fails at its end, once all of it has been given, unless that is allowed", async () => {
    const { sandbox, options } = await tenant();
    const lists: Array<Unverified> = [];
    const onUnverified = (list: Unverified) => void lists.push(list);
    const read = async (allowUnverified: boolean) => {
      const chunks: Array<Uint8Array> = [];
      try {
        const bytes = stream("ndjson", { ...options, onUnverified, allowUnverified });
        for await (const chunk of bytes) chunks.push(chunk);
        return { chunks, error: undefined };
      } catch (error) {
        return { chunks, error: error as Error };
      }
    };
    for (const isAllowed of [true, false]) {
      const { chunks, error } = await read(isAllowed);
      expect(keysIn(Buffer.concat(chunks).toString())).toEqual(keysOf(sandbox));
      if (isAllowed) expect(error).toBeUndefined();
      else expect(error).toMatchObject({ _tag: "ExportError", reason: "Unverified" });
    }
    expect(lists.map(({ userId }) => userId)).toEqual([undefined, undefined]);
  });
});
