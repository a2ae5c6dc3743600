/** The server for `deno serve`, which runs no `--preload`: it can be asked what it holds. */
import "./heldMemory.mjs";
export { default } from "../../src/server/serve.ts";
