/** A sandbox, and the options that reach it in this process. */
import { make, type Sandbox, type SandboxOptions } from "../../src/sandbox/mod.ts";

/** The options that reach a sandbox through its `fetch`. */
export const reach = (sandbox: Sandbox) => ({
  domain: "sandbox.example",
  apiKey: sandbox.key,
  rate: 100_000,
  baseDelay: "1 millis",
  fetch: (input: string | URL | Request, init?: RequestInit) => sandbox.fetch(new Request(input, init)),
} as const);

/** A new sandbox and its options. */
export const tenant = (options: SandboxOptions = {}) => {
  const sandbox = make({ users: 3, sessionsPerUser: 7, ...options });
  return { sandbox, options: reach(sandbox) };
};

/** `user session` of all that the sandbox has, sorted. */
export const keysOf = (sandbox: Sandbox): Array<string> =>
  [...sandbox.userIds()].flatMap((userId) =>
    [...sandbox.sessions(userId)].map(({ session_id }) => `${userId} ${session_id}`)
  ).sort();

/** The reason a promise rejects with. */
export const reasonOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then((value) => {
    throw new Error(`it should have quarantined, and gave ${JSON.stringify(value)}`);
  }, (reason: unknown) => reason);

/** A `fetch` of the sandbox that answers 403 after so many requests. */
export const forbiddenAfter = (sandbox: Sandbox, requests: number): typeof globalThis.fetch => {
  let asked = 0;
  return (input, init) =>
    ++asked > requests
      ? Promise.resolve(new Response(null, { status: 403 }))
      : sandbox.fetch(new Request(input, init));
};

/** Waits a while, and gives how many requests were made meanwhile. */
export const requestsAfterwards = async ({ counts }: Sandbox): Promise<number> => {
  // Those under way may still be answered.
  await new Promise((resume) => setTimeout(resume, 50));
  const before = counts.total;
  await new Promise((resume) => setTimeout(resume, 150));
  return counts.total - before;
};

/** Options of a sandbox with so many users, and so slow answers, that no export ends within a test. */
export const endless = { users: 100_000, sessionsPerUser: 5, faults: { latencyMs: 2 } };
