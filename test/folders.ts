/** Folders that tests write to, gone when the test is over. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** A new folder for the test that is running. */
export const newFolder = async (): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), "monocloud-sessions-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
};
