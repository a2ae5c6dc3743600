/** A page that exports in a thread. What it gets is `globalThis.result`. */
import { sessions } from "monocloud-sessions/promise";
import { stream } from "monocloud-sessions/thread";

const options = { domain: location.origin, apiKey: globalThis.apiKey, users: "all" };

const lengthOf = async (format) => (await new Response(stream(format, options)).arrayBuffer()).byteLength;

const count = async () => {
  let count = 0;
  for await (const _ of sessions(options)) count++;
  return count;
};

globalThis.result = Promise.all([count(), lengthOf("csv"), lengthOf("parquet")]).catch(String);
