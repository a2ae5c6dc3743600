/** How soon the command is there. */
import { fileURLToPath } from "node:url";
import { inTurn, median, ratio, runProgram } from "../measure.ts";
import type { Section } from "../report.ts";
import type { Bench } from "../case.ts";

const cli = fileURLToPath(new URL("../../dist/cli.js", import.meta.url));

export const run = async ({ isQuick }: Bench): Promise<Section> => {
  const node = (...args: ReadonlyArray<string>) => async () => {
    const taken = await runProgram("node", args);
    if (taken.code !== 0) throw new Error(taken.err);
    return taken;
  };
  const contenders = {
    "bare Node": node("--eval", "0"),
    "--help": node(cli, "--help"),
    "export --help": node(cli, "export", "--help"),
  };
  const taken = await inTurn(contenders, isQuick ? 5 : 15);
  return {
    title: "Start-up",
    words: "From the start of the process to its end.",
    tables: [{
      title: "The command",
      rows: Object.keys(contenders).map((name) => {
        const { median: times, least, most } = ratio(taken, name, "bare Node", "wallSeconds");
        return {
          what: name,
          ms: median(taken.get(name)!.map(({ wallSeconds }) => wallSeconds)) * 1000,
          "times bare Node": times,
          "least to most": `${least.toFixed(2)} to ${most.toFixed(2)}`,
        };
      }),
    }],
  };
};
