/** A connection whose work is done one piece after another, and that is given up where nothing is heard of it any more. */
import { type Connection, type Target, TargetError } from "./Target.ts";

/** The longest silence of a database that is to be quick, in milliseconds. */
const SILENCE = 2000;

/** Take turns on a connection. */
export const of = ({ name }: Target, opened: Connection) => {
  /** When the database last gave an answer, or had nothing to answer. */
  let heardAt = performance.now();
  const hearing = <Args extends ReadonlyArray<unknown>, A>(call: (...args: Args) => Promise<A>) =>
  async (
    ...args: Args
  ) => {
    try {
      return await call(...args);
    } finally {
      heardAt = performance.now();
    }
  };
  const connection: Connection = {
    ...opened,
    query: hearing(opened.query),
    run: hearing(opened.run),
    append: hearing(opened.append),
    appendParquet: opened.appendParquet && hearing(opened.appendParquet),
    appendTo: opened.appendTo && hearing(opened.appendTo),
    describe: hearing(opened.describe),
  };

  /** Ends the wait for a call that is not answered. */
  let dropped: TargetError | undefined;
  let drop: (error: TargetError) => void = () => {};
  const onDrop = new Promise<never>((_, reject) => {
    drop = (error) => reject(dropped = error);
  });
  onDrop.catch(() => undefined);

  let last: Promise<unknown> = Promise.resolve();
  let isWaiting = false;
  /** Does work once what was asked for before is done. */
  const inTurn = <A>(work: () => Promise<A>): Promise<A> => {
    const result = last.then(async () => {
      if (dropped !== undefined) throw dropped;
      [heardAt, isWaiting] = [performance.now(), true];
      try {
        return await Promise.race([work(), onDrop]);
      } finally {
        isWaiting = false;
      }
    });
    last = result.catch(() => undefined);
    return result;
  };

  let watch: ReturnType<typeof setInterval> | undefined;
  /** Gives up the connection, from now on, once it is silent for so long: whoever asks for this has no time to wait. */
  const hurry = (silence: number = SILENCE): void => {
    watch ??= setInterval(() => {
      if (!isWaiting || performance.now() - heardAt < silence) return;
      clearInterval(watch);
      drop(
        new TargetError({
          reason: "Unreachable",
          target: name,
          message: `Cannot reach ${name}: no answer within ${silence / 1000} s`,
        }),
      );
      void opened.close();
    }, 50);
  };

  return {
    connection,
    inTurn,
    hurry,
    /** Does a last piece of work, if the database answers, and closes the connection. */
    close: async (lastly: () => Promise<void>): Promise<void> => {
      hurry();
      await inTurn(lastly).catch(() => undefined);
      clearInterval(watch);
      await opened.close();
    },
  };
};
