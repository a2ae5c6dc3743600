/** Workers that are real processes, each behind a cable of its own. */
import { onTestFinished } from "vitest";
import { command, type Running, start } from "../cli/command.ts";
import * as Cable from "./cable.ts";

export interface MachineOptions {
  /** Variables whose values are URLs on this machine, which the worker reaches by its cable. */
  readonly urls: Readonly<Record<string, string>>;
  readonly env: Readonly<Record<string, string>>;
  readonly args: ReadonlyArray<string>;
}

/** Something that a worker said of a shard. */
export interface Said {
  readonly machine: number;
  readonly shard: string;
  readonly what: "begun" | "done" | "failed" | "handed back" | "given up";
  readonly attempt: number;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

export interface Machine {
  readonly number: number;
  readonly cable: Cable.Cable;
  /** The process that runs now; a new one after {@link restart}. */
  readonly running: () => Running;
  readonly restart: () => void;
  /** Shards that it works on now, by what it said. */
  readonly shards: () => ReadonlySet<string>;
}

const WORDS = /shard (\S+): (begun|done|failed|handed back|given up)(?:, attempt (\d+))?/g;

/** Start a worker; `hear` is told what it says of shards. */
export const startMachine = async (
  number: number,
  { urls, env, args }: MachineOptions,
  hear: (said: Said) => void = () => {},
): Promise<Machine> => {
  const portOf = (text: string) => Number(new URL(text).port);
  const cable = await Cable.lay([...new Set(Object.values(urls).map(portOf))]);
  onTestFinished(() => cable.remove());
  const there = Object.fromEntries(
    Object.entries(urls).map(([name, text]) => {
      const port = portOf(text);
      return [name, text.replace(`:${port}`, `:${cable.portFor(port)}`)];
    }),
  );
  const shards = new Set<string>();
  const [program = "", ...words] = [...cable.behind, ...command, "work", ...args];
  const begin = () => {
    shards.clear();
    const running = start(program, words, { env: { ...env, ...there } });
    running.child.stderr.on("data", (chunk) => {
      for (const [, shard = "", what, attempt = "1"] of String(chunk).matchAll(WORDS)) {
        if (what === "begun") shards.add(shard);
        else shards.delete(shard);
        hear({
          machine: number,
          shard,
          what: what as Said["what"],
          attempt: Number(attempt),
          at: Date.now(),
        });
      }
    });
    return running;
  };
  let running = begin();
  return {
    number,
    cable,
    running: () => running,
    restart: () => void (running = begin()),
    shards: () => shards,
  };
};
