/** Records what the process that imports it opens, lists, makes, moves and removes from then on, each by its real path. */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const { realpathSync } = fs;

/** @type {Array<string>} */
export const touched = [];

/** The real path: of what a link leads to, or of the link itself. @param {string} path @param {boolean} follows */
const real = (path, follows) => {
  try {
    return follows ? realpathSync(path) : join(realpathSync(dirname(path)), basename(path));
  } catch {
    return path;
  }
};

/** @param {unknown} path */
const textOf = (path) =>
  path instanceof URL ? fileURLToPath(path) : typeof path === "string" ? path : undefined;

/** @param {Record<string, any>} target @param {ReadonlyArray<string>} names @param {boolean} follows @param {number} paths */
const record = (target, names, follows, paths = 1) => {
  for (const name of names) {
    const original = target[name];
    target[name] = function (...args) {
      for (const arg of args.slice(0, paths)) {
        const path = textOf(arg);
        if (path !== undefined) touched.push(`${name} ${real(resolve(path), follows)}`);
      }
      return original.apply(this, args);
    };
  }
};

const opening = ["open", "readFile", "writeFile", "appendFile", "readdir", "truncate", "opendir"];
const naming = ["rm", "unlink", "rmdir", "mkdir"];
const moving = ["rename", "link", "copyFile"];
record(fs.promises, opening, true);
record(fs.promises, naming, false);
record(fs.promises, moving, false, 2);
for (const suffix of ["", "Sync"]) {
  const named = (names) => names.map((name) => `${name}${suffix}`);
  record(fs, named(opening), true);
  record(fs, named(naming), false);
  record(fs, named(moving), false, 2);
}
syncBuiltinESMExports();
