/** Watches the names of parts over all that happens to a dataset. */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "vitest";
import { partFolders } from "../../src/dataset/Layout.ts";

/** Makes what looks at the parts of a dataset each time it is called: none may ever have two contents. */
export const witness = (root: string) => {
  const seen = new Map<string, string>();
  return async (): Promise<void> => {
    for (const folder of partFolders()) {
      for (const name of await readdir(join(root, folder)).catch((): Array<string> => [])) {
        if (name.endsWith(".partial")) continue;
        const path = `${folder}/${name}`;
        // It may be removed by the process that is at work.
        const bytes = await readFile(join(root, path)).catch(() => undefined);
        if (bytes === undefined) continue;
        const sum = createHash("sha256").update(bytes).digest("hex");
        expect(seen.get(path) ?? sum, `${path} as it was before`).toBe(sum);
        seen.set(path, sum);
      }
    }
  };
};
