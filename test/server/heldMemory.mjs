/** Loaded before a server: at SIGUSR2 it says how many bytes JavaScript holds, once all that is not held has been collected. */
import process from "node:process";

process.on("SIGUSR2", () => {
  globalThis.gc();
  const { heapUsed, external } = process.memoryUsage();
  process.stderr.write(`Held: ${heapUsed + external}\n`);
});
