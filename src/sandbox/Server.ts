/**
 * The sandbox on a port, with faults that reach down to the socket. The one module here that needs `node:http`; Deno and Bun
 * have it too.
 */
import { Buffer } from "node:buffer";
import * as http from "node:http";
import type { Answer } from "./http/Endpoint.ts";
import type { Sandbox } from "./Sandbox.ts";
import { half } from "./http/WebAnswer.ts";

/** Options of a server: where to listen. */
export interface ServeOptions {
  /** 0 for any free one. @default {0} */
  readonly port?: number;
  /** @default {"127.0.0.1"} */
  readonly hostname?: string;
}

/** A sandbox that is listening. */
export interface Served {
  /** The origin: `http://127.0.0.1:49152`. */
  readonly url: string;
  /** Stops listening and breaks the connections that are left. */
  readonly close: () => Promise<void>;
}

/**
 * Serves a sandbox over HTTP/1.1. A `reset` resets the TCP connection; a `cut` sends the `content-length` and half the body,
 * then destroys the socket; a `truncated` body is chunked and ends in order. Rejects when it can't listen.
 *
 * @example
 * ```ts
 * import { make, serve } from "monocloud-sessions/sandbox";
 *
 * const sandbox = make({ users: 3 });
 * const server = await serve(sandbox);
 * const response = await fetch(`${server.url}/api/users?size=2`, { headers: { "X-API-KEY": sandbox.key } });
 * console.assert((await response.json()).length === 2);
 * await server.close();
 * ```
 */
export const serve = async (sandbox: Sandbox, options: ServeOptions = {}): Promise<Served> => {
  const { port = 0, hostname = "127.0.0.1" } = options;
  // Idle connections stay for longer than clients keep them: whoever closes first, must not be this end in
  // mid-request.
  const server = http.createServer(
    { maxHeaderSize: 16_384, keepAliveTimeout: 60_000 },
    (request, response) => {
      // No request has a use for a body, but one that stays unread would block the connection.
      request.resume();
      const key = request.headers["x-api-key"];
      const gone = new AbortController();
      const failed = (cause: unknown): void => {
        if (gone.signal.aborted) return;
        // Only a `beforeAnswer` gets here. Its author shall see what it threw, and the server go on.
        send(
          { status: 500, headers: { "content-type": "text/plain" }, body: `The sandbox failed: ${cause}` },
          response,
        );
      };
      try {
        const answer = sandbox.answer({
          method: request.method ?? "GET",
          target: request.url ?? "/",
          key: Array.isArray(key) ? key.join(", ") : key,
          signal: gone.signal,
        });
        if (!(answer instanceof Promise)) return send(answer, response);
        response.on("close", () => gone.abort());
        answer.then((late) => send(late, response)).catch(failed);
      } catch (cause) {
        failed(cause);
      }
    },
  );
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, hostname, () => {
      server.off("error", reject);
      resolve();
    });
  });
  const address = server.address();
  const bound = typeof address === "object" && address !== null ? address.port : port;
  return {
    url: `http://${hostname.includes(":") ? `[${hostname}]` : hostname}:${bound}`,
    close: () =>
      new Promise((resolve, reject) => {
        server.close((error) => error === undefined ? resolve() : reject(error));
        server.closeAllConnections();
      }),
  };
};

const send = (answer: Answer, response: http.ServerResponse): void => {
  const { status, headers, body, broken } = answer;
  if (broken === "reset") {
    response.socket?.resetAndDestroy();
  } else if (broken === "cut") {
    const { bytes, of } = half(answer);
    response.writeHead(status, { ...headers, "content-length": of });
    // Not before the bytes went out: destroying a socket drops what it still holds.
    response.write(bytes, () => response.socket?.destroy());
  } else if (broken === "truncated") {
    response.writeHead(status, headers);
    response.write(half(answer).bytes);
    response.end();
  } else {
    response.writeHead(status, { ...headers, "content-length": Buffer.byteLength(body) });
    response.end(body);
  }
};
