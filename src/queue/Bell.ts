/** A bell that one waits for: rung before, it is heard as well, once. */
import * as Effect from "effect/Effect";

export interface Bell {
  readonly ring: () => void;
  readonly heard: Effect.Effect<void>;
  /** Forgets that it was rung. */
  readonly still: () => void;
}

export const make = (): Bell => {
  let isRung = false;
  let wake = () => {};
  return {
    ring: () => {
      isRung = true;
      wake();
    },
    heard: Effect.async<void>((resume) => {
      wake = () => {
        isRung = false;
        wake = () => {};
        resume(Effect.void);
      };
      if (isRung) wake();
      return Effect.sync(() => void (wake = () => {}));
    }),
    still: () => void (isRung = false),
  };
};
