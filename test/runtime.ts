/** The runtime that runs the tests, and with them the command. */
import process from "node:process";

/** Whether it is Deno: the tests run under either. */
export const onDeno: boolean = "Deno" in globalThis;

/**
 * How many of so many random cases to try: all of them, or the share that `TEST_SHARE` says. What they try does not differ
 * by runtime, so that one of the two need not try all.
 */
export const some = (whole: number): number => Math.ceil(whole * Number(process.env["TEST_SHARE"] ?? 1));
