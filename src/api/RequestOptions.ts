/** Options for the pace, the timeouts and the retries of requests, as types that name no library. */

/** Options of the rate. */
export interface RateLimiterOptions {
  /**
   * The most requests a second, retries included. The rate in force never exceeds it. Calls of the promise API that run side
   * by side have a rate each: divide what the tenant allows among them. With `"auto"`, for a tenant whose
   * limit is not known, the rate begins at 20, grows until the tenant answers 429, and stays just below what it allows.
   *
   * @default {20}
   */
  readonly rate?: number | "auto" | undefined;
  /**
   * The number of requests that may leave at once after a pause, in proportion fewer while the rate is lowered. Never more
   * than `burst + rate * t` leave within `t` seconds. With `"auto"` never fewer, but no burst follows on a 429.
   *
   * @default {Math.max(1, rate / 10), with "auto" Math.max(1, rate / 100)}
   */
  readonly burst?: number | undefined;
}

/** Options of requests, with times as the caller writes them. */
export interface RequestOptions<Duration> extends RateLimiterOptions {
  /** The longest time for one attempt, body included. @default {"30 seconds"} */
  readonly timeout?: Duration | undefined;
  /** The most times that a request is sent. Left out, only {@link maxElapsed} ends it. @default {Infinity} */
  readonly maxAttempts?: number | undefined;
  /**
   * The time that a request may take in all, from when it is first sent, but for waiting for its turn to be read. Also how
   * long a tenant may ask to be left alone: if it asks for more, every request fails at once.
   *
   * @default {"5 minutes"}
   */
  readonly maxElapsed?: Duration | undefined;
  /**
   * The longest wait before the second attempt; it doubles with each attempt. The wait itself is drawn evenly from 0 up to
   * it, so that many clients do not come back at once. `Retry-After` lengthens it, never shortens it.
   *
   * @default {"500 millis"}
   */
  readonly baseDelay?: Duration | undefined;
  /** The longest wait, at which the doubling ends. @default {"30 seconds"} */
  readonly maxDelay?: Duration | undefined;
  /**
   * The most bytes that the body of an answer may have, as sent and once unpacked. While they come in, all bodies at once
   * take no more than that, and 1 MiB for each request under way.
   *
   * @default {67_108_864}
   */
  readonly maxBodyBytes?: number | undefined;
}
