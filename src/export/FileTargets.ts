/** Files named by their paths: each path tells its format, and is named once. */
import * as Formats from "../format/Formats.ts";

/**
 * Choose the format of each path by its ending, and the path of the file for quarantined rows: beside the first, unless one is given.
 *
 * @throws {TypeError} where there is no path, one has another ending, or one is named twice.
 */
export const of = (
  out: string | ReadonlyArray<string>,
  quarantine: string | undefined,
  ofPath: (path: string) => Formats.Choice | undefined = Formats.ofPath,
) => {
  const paths = typeof out === "string" ? [out] : out;
  const [first] = paths;
  if (first === undefined) throw new TypeError("Cannot export as 'out' names no file");
  const files = paths.map((path) => {
    const choice = ofPath(path);
    if (choice !== undefined) return { path, choice };
    throw new TypeError(`Cannot export to ${path} as its name must end in one of ${Formats.endings()}`);
  });
  const beside = quarantine ?? `${first}.quarantine.ndjson`;
  const repeated = [...paths, beside].find((path, index, all) => all.indexOf(path) < index);
  if (repeated !== undefined) throw new TypeError(`Cannot export to ${repeated} as it is named twice`);
  return { files, quarantine: beside };
};
