/** Values in memory, as a queue's server keeps them, for as many machines as a test has. */
import type { Values } from "../../src/queue/Values.ts";

export interface Memory extends Values {
  /** Calls so far. */
  readonly calls: () => number;
  /** Makes each call fail, or no longer. */
  readonly fail: (error: Error | undefined) => void;
  /** Another machine's, whose calls count for it alone. */
  readonly machine: () => Values & { readonly calls: () => number };
}

/** Make values whose clock a test says, in milliseconds, and the way there and back, which takes none unless it says so. */
export const make = (now: () => number, way: () => Promise<void> = () => Promise.resolve()): Memory => {
  const values = new Map<string, { readonly value: string; readonly version: number; readonly at: number }>();
  let versions = 0;
  let all = 0;
  let failing: Error | undefined;
  const machine = () => {
    let calls = 0;
    const call = async <A>(work: () => A): Promise<A> => {
      calls++;
      all++;
      await way();
      if (failing !== undefined) throw failing;
      const result = work();
      await way();
      return result;
    };
    const put = (key: string, value: string) =>
      void values.set(key, { value, version: ++versions, at: now() });
    return {
      calls: () => calls,
      read: (key: string) =>
        call(() => {
          const found = values.get(key);
          return { value: found?.value, version: found?.version ?? 0, now: now() };
        }),
      replace: (key: string, version: number, value: string) =>
        call(() => {
          if ((values.get(key)?.version ?? 0) !== version) return false;
          put(key, value);
          return true;
        }),
      set: (key: string, value: string) => call(() => put(key, value)),
      remove: (key: string) => call(() => void values.delete(key)),
      list: (prefix: string) =>
        call(() =>
          [...values].filter(([key]) => key.startsWith(prefix)).sort(([one], [other]) => one < other ? -1 : 1)
            .map(([key, { value, at }]) => ({ key, value, age: now() - at }))
        ),
      close: () => Promise.resolve(),
    };
  };
  return { ...machine(), machine, calls: () => all, fail: (error) => failing = error };
};
