/** Tenants on a port, for commands that are processes. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";
import type { Sandbox } from "../../src/sandbox/mod.ts";

/** Serve what answers requests. Gives the environment that leads the command there. */
export const serving = async ({ fetch, key }: Pick<Sandbox, "fetch" | "key">) => {
  const server = createServer(async ({ url = "", headers }, response) => {
    const request = new Request(`http://sandbox.example${url}`, {
      headers: new Headers(headers as HeadersInit),
    });
    const answer = await fetch(request);
    const body = await answer.text().catch(() => undefined);
    if (body === undefined) return void response.destroy();
    response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { env: { MONOCLOUD_DOMAIN: `http://127.0.0.1:${port}`, MONOCLOUD_API_KEY: key } };
};
