/** Stops a piece of work right before any one of the changes it makes to the disk, in one process. */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

type Call = (...args: Array<unknown>) => Promise<unknown>;

/** Stops before the n-th change until what is done meanwhile is done. Gives how many changes there were. */
export const stoppingAt = async (
  at: number,
  work: () => Promise<unknown>,
  meanwhile: () => Promise<void>,
) => {
  let changes = 0;
  let isStopped = false;
  const restored: Array<() => void> = [];
  // deno-lint-ignore no-explicit-any
  const guard = (target: any, name: string, isChange: (...args: Array<unknown>) => boolean = () => true) => {
    const original: Call = target[name];
    restored.push(() => void (target[name] = original));
    target[name] = async function (...args: Array<unknown>) {
      if (isStopped || !isChange(...args) || ++changes !== at) return original.apply(this, args);
      isStopped = true;
      await meanwhile();
      isStopped = false;
      return original.apply(this, args);
    };
  };
  const handle = await fs.promises.open(new URL(import.meta.url), "r");
  for (const name of ["rename", "rm", "rmdir", "link", "mkdir", "writeFile"]) guard(fs.promises, name);
  // Flags of what is opened to be read alone are 0 but for how.
  const reads = (flags: unknown) =>
    flags === undefined || flags === "r" || (typeof flags === "number" && (flags & 3) === 0);
  guard(fs.promises, "open", (_, flags) => !reads(flags));
  guard(Object.getPrototypeOf(handle), "appendFile");
  await handle.close();
  syncBuiltinESMExports();
  try {
    await work();
  } finally {
    for (const restore of restored) restore();
    syncBuiltinESMExports();
  }
  return changes;
};
