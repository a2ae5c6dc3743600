/** Letting others have their turn. */
import * as Effect from "effect/Effect";

/** Waits until what is ready now has been done, where the runtime has a way to tell. */
export const everythingReady: Effect.Effect<void> = Effect.async((resume) => {
  if ("setImmediate" in globalThis) setImmediate(() => resume(Effect.void));
  else resume(Effect.void);
});
