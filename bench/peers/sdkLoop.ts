/**
 * The loop that MonoCloud's own SDK leads to: one page after the other with `fetch`, `response.json()`, until `has_next` is
 * false, a line for each session.
 */
import { createWriteStream } from "node:fs";
import { once } from "node:events";
import { finished } from "node:stream/promises";
import type { Job } from "../job.ts";

export const run = async ({ url, users, pageSize, out }: Job): Promise<void> => {
  const file = createWriteStream(out["ndjson"]!);
  for (const user of users) {
    for (let page = 1, more = true; more; page++) {
      const response = await fetch(
        `${url}/api/users/${user}/sessions?page=${page}&size=${pageSize}&sort=initiated_at%3A-1`,
        { headers: { "x-api-key": "sandbox-key", accept: "application/json" } },
      );
      if (!response.ok) throw new Error(`${response.status}`);
      for (const session of await response.json()) {
        if (!file.write(`${JSON.stringify({ user_id: user, ...session })}\n`)) await once(file, "drain");
      }
      more = JSON.parse(response.headers.get("x-pagination")!).has_next;
    }
  }
  file.end();
  await finished(file);
};
