// A thread that takes turns of a shared pace, and says when each came: run by RateLimit.test.ts.
import { parentPort, workerData } from "node:worker_threads";
import * as Effect from "effect/Effect";
import * as RateLimit from "../../dist/api/rate/RateLimiter.js";

const { options, turns } = workerData;
const gate = RateLimit.make(options);
parentPort.once("message", async ({ throttledAt }) => {
  if (throttledAt !== undefined) {
    for (const leftAt of throttledAt) gate.throttled(leftAt, leftAt + 1000);
    parentPort.postMessage(gate.pace().rate);
    return;
  }
  const times = await Effect.runPromise(
    Effect.all(Array.from({ length: turns }, () => gate.take(Infinity)), { concurrency: 4 }),
  );
  parentPort.postMessage(times);
});
parentPort.postMessage("ready");
