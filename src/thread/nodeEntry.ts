/**
 * What a thread of Node loads.
 *
 * @module
 */
import { parentPort } from "node:worker_threads";
import * as Runner from "./Runner.ts";
import type { ThreadPort } from "./WorkerPort.ts";

if (parentPort !== null) void Runner.serve(parentPort as unknown as ThreadPort);
