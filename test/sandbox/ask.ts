/** What the tests of the sandbox share: asking it in this process, as a client would. */
import type { Sandbox, SandboxSession } from "../../src/sandbox/mod.ts";

export const request = (sandbox: Sandbox, path: string, init: RequestInit = {}): Request =>
  new Request(`https://sandbox.test${path}`, { headers: { "x-api-key": sandbox.key }, ...init });

export const ask = (sandbox: Sandbox, path: string): Promise<Response> =>
  sandbox.fetch(request(sandbox, path));

export const askJson = (sandbox: Sandbox, path: string): ReturnType<Response["json"]> =>
  ask(sandbox, path).then((response) => response.json());

export const firstUser = (sandbox: Sandbox): string => [...sandbox.userIds()][0] as string;

export const sessionsPath = (userId: string, query: Record<string, string | number> = {}): string =>
  `/api/users/${userId}/sessions?${new URLSearchParams(
    Object.entries(query).map(([k, v]) => [k, String(v)]),
  )}`;

/** Every row of a list, page by page until a short one. */
export const walk = async (
  sandbox: Sandbox,
  userId: string,
  query: { readonly size: number; readonly sort?: string; readonly client_id?: string },
): Promise<SandboxSession[]> => {
  const found: SandboxSession[] = [];
  for (let page = 1;; page++) {
    const rows: SandboxSession[] = await askJson(sandbox, sessionsPath(userId, { ...query, page }));
    found.push(...rows);
    if (rows.length < query.size) return found;
  }
};
