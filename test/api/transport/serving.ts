/** Servers on loopback, for one test. */
import { once } from "node:events";
import * as http from "node:http";
import type { AddressInfo } from "node:net";

/** A server that answers like this, and how many requests it got. */
export const serving = async (answer: http.RequestListener) => {
  let requests = 0;
  const server = http.createServer((request, response) => {
    requests++;
    answer(request, response);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: () => requests,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
};
