/** The specification of a command: its flags, and what help says of it. */
import type * as Flag from "./Flag.ts";

export interface CommandSpec {
  readonly name: string;
  /** Its purpose, in a line. */
  readonly summary: string;
  readonly argument?: { readonly placeholder: string; readonly text: string } | undefined;
  readonly groups: ReadonlyArray<Flag.Group>;
  /** Message on an interrupt; undefined where the command has its own, or ends by one. */
  readonly interrupted?: string;
  /** Command lines without the program's name, each with what it is for. */
  readonly examples: ReadonlyArray<readonly [line: string, purpose: string]>;
}

export const flagsOf = ({ groups }: CommandSpec): ReadonlyArray<Flag.About> =>
  groups.flatMap(({ flags }) => Object.values(flags));
