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
