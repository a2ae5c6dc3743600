/** What parsing alone takes: undici with as many connections as there are requests at once, `JSON.parse`, nothing kept. */
import { Agent, request } from "undici";
import type { Job } from "../job.ts";

export const run = async ({ url, users, pageSize, concurrency = 1 }: Job): Promise<void> => {
  const dispatcher = new Agent({ connections: concurrency, pipelining: 1 });
  const headers = { "x-api-key": "sandbox-key", accept: "application/json" };
  const page = async (user: string, page: number) => {
    const target = `${url}/api/users/${user}/sessions?page=${page}&size=${pageSize}&sort=initiated_at%3A-1`;
    const answer = await request(target, { dispatcher, headers });
    const facts = JSON.parse(answer.headers["x-pagination"] as string) as { readonly total_count: number };
    JSON.parse(await answer.body.text());
    return facts;
  };
  // Whoever is free takes the next page that is known of, or else the next user.
  const pages: Array<readonly [user: string, page: number]> = [];
  let next = 0;
  const worker = async () => {
    for (;;) {
      const known = pages.pop();
      if (known !== undefined) await page(...known);
      else if (next < users.length) {
        const user = users[next++]!;
        const { total_count } = await page(user, 1);
        for (let number = Math.ceil(total_count / pageSize); number > 1; number--) pages.push([user, number]);
        for (let more = pages.length; more > 1 && idle.length > 0; more--) idle.pop()!();
      } else if (busy > 1) {
        busy--;
        await new Promise<void>((resume) => idle.push(resume));
        busy++;
      } else {
        for (const resume of idle) resume();
        return;
      }
      if (next >= users.length && pages.length === 0) return;
    }
  };
  const idle: Array<() => void> = [];
  let busy = concurrency;
  await Promise.all(Array.from({ length: concurrency }, worker));
  await dispatcher.close();
};
