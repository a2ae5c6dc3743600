/**
 * Passwords of PostgreSQL from `~/.pgpass`, or the file that `PGPASSFILE` names. `pg` reads it too, warns of that, and will no
 * longer do so in its next version.
 *
 * Source: PostgreSQL's documentation of libpq, "The Password File".
 */
import { readFile, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";

/** What a password is for. */
export interface Login {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
}

const isWindows = process.platform === "win32";

const pathOf = (): string => {
  // One by one: Deno asks for a permission for each.
  const named = process.env["PGPASSFILE"];
  if (named) return named;
  return isWindows
    ? join(process.env["APPDATA"] ?? ".", "postgresql", "pgpass.conf")
    : join(homedir(), ".pgpass");
};

/** Split a line at its colons, but for those after a backslash. */
const fieldsOf = (line: string): ReadonlyArray<string> =>
  (line.match(/(?:\\.|[^:\\])*(?::|$)/g) ?? [])
    .map((field) => field.replace(/:$/, "").replace(/\\(.)/g, "$1")).slice(0, 5);

/** Find the password of a login in the text of such a file: that of the first line which is for it. */
export const find = (text: string, { host, port, database, user }: Login): string | undefined => {
  const asked = [host.startsWith("/") || host === "" ? "localhost" : host, `${port}`, database, user];
  return text.split(/\r?\n/).filter((line) => !line.startsWith("#")).map(fieldsOf)
    .find((fields) => fields.length === 5 && asked.every((word, at) => ["*", word].includes(fields[at]!)))
    ?.[4];
};

/**
 * Read the password of a login; undefined where there is none, or no right to look.
 *
 * Rejects where others than its owner can read the file.
 */
export const read = async (login: Login): Promise<string | undefined> => {
  let text: string;
  let mode: number;
  let path: string;
  try {
    path = pathOf();
    mode = (await stat(path)).mode;
    text = await readFile(path, "utf8");
  } catch {
    return undefined;
  }
  const password = find(text, login);
  if (password !== undefined && !isWindows && (mode & 0o077) !== 0) {
    throw new Error(`others can read the password file ${path}: chmod 600 ${path}`);
  }
  return password;
};
