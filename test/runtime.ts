/** The runtime that runs the tests, and with them the command. */

/** Whether it is Deno: the tests run under either. */
export const onDeno: boolean = "Deno" in globalThis;
