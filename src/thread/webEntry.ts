/**
 * What a thread of the web loads: Deno, Bun, browsers.
 *
 * @module
 */
import * as Runner from "./Runner.ts";
import type { ThreadPort } from "./WorkerPort.ts";

void Runner.serve(globalThis as unknown as ThreadPort);
