/** What 0.1 wrote, and the tenant it came from; see `version1.test.ts`. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { make } from "../../src/sandbox/mod.ts";
import { newFolder } from "../folders.ts";

interface Fixture {
  /** Each file of the run that was broken off, in base64. */
  readonly files: Readonly<Record<string, string>>;
  /** Those that were there before it began. */
  readonly finished: ReadonlyArray<string>;
}

const fixture: Fixture = JSON.parse(
  gunzipSync(await readFile(new URL("./version1.json.gz", import.meta.url))).toString(),
);

/** Lay the dataset out in a new folder, as its second run left it or its third. */
export const unpack = async (which: "finished" | "unfinished"): Promise<string> => {
  const root = await newFolder();
  for (const path of which === "finished" ? fixture.finished : Object.keys(fixture.files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), Buffer.from(fixture.files[path]!, "base64"));
  }
  return root;
};

/** The tenant that it was exported from, as it was when its second run had ended, or its third had begun. */
export const tenantAt = (which: "finished" | "unfinished") => {
  let time = Date.UTC(2026, 10, 1) / 1000;
  const sandbox = make({ users: 6, sessionsPerUser: 14, malformed: 0.03, seed: 7, now: () => time });
  const users = [...sandbox.userIds()];
  const pass = () => void (time += 3600);
  pass();
  for (const user of users.slice(0, 3)) {
    sandbox.add(user);
    sandbox.update(user, [...sandbox.sessions(user)].at(-1)!.session_id);
    sandbox.remove(user, [...sandbox.sessions(user)].at(3)!.session_id);
  }
  pass();
  pass();
  if (which === "unfinished") {
    for (const user of users) for (let i = 0; i < 8; i++) sandbox.add(user);
    pass();
  }
  return { sandbox, users, pass };
};
