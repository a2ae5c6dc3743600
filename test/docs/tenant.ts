/**
 * Loaded before the snippets of README and docs run: a sandbox answers for the tenant and the user that they name, and its
 * key is in the environment.
 */
import process from "node:process";
import { make } from "../../src/sandbox/mod.ts";

const sandbox = make({ users: 5 });
const [userId = ""] = sandbox.userIds();
process.env.MONOCLOUD_API_KEY = sandbox.key;
const network = globalThis.fetch;
globalThis.fetch = (input, init) => {
  const request = new Request(input, init);
  if (new URL(request.url).hostname !== "acme.eu.monocloud.com") return network(request);
  return sandbox.fetch(new Request(request.url.replace("USER_ID", encodeURIComponent(userId)), request));
};
