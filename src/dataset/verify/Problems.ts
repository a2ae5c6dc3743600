/** Problems of a dataset, in words. */

import type { Problem } from "../../plain/Report.ts";

export type Note = (path: string, problem: string) => void;

/** At most so many problems of one file are told one by one. */
const TOLD = 10;

/** Collects problems, by file: the first few of each. */
export const collector = () => {
  const found = new Map<string, Array<string>>();
  return {
    note: ((path, problem) => {
      const problems = found.get(path) ?? [];
      problems.push(problem);
      found.set(path, problems);
    }) as Note,
    problems: (): Array<Problem> =>
      [...found].flatMap(([path, problems]) => [
        ...problems.slice(0, TOLD).map((problem) => ({ path, problem })),
        ...(problems.length > TOLD ? [{ path, problem: `and ${problems.length - TOLD} more problems` }] : []),
      ]),
  };
};

/** Number of faults by which it is plain that the file is another one, made to be read for ever maybe. */
const MOST = 100_000;

/** Faults of one kind in the rows of a file, of which one is told and the others are counted. */
export const faults = (note: (problem: string) => void) => {
  let first: string | undefined;
  let more = 0;
  return {
    add: (problem: () => string) => {
      if (first === undefined) first = problem();
      else more++;
    },
    any: () => first !== undefined,
    areTooMany: () => more >= MOST,
    tell: () => {
      if (first !== undefined) note(more === 0 ? first : `${first}; and ${more} more rows like it`);
    },
  };
};

export const wordsOf = (error: unknown): string => {
  const { code, message } = (error ?? {}) as { readonly code?: unknown; readonly message?: unknown };
  return code === "EACCES" ? "permission denied" : String(message ?? error);
};
