/**
 * Facts about a request beside what it says itself, as `Deno.serve` tells them.
 *
 * @module
 */
/** Facts about a request beside what it says itself. */
export interface Arrival {
  /** The address it came from: without a token, no other than this machine's is served. */
  readonly from: string | undefined;
  /** The version of HTTP, such as `1.1`. Left out, it is taken for one in which a body that is broken off shows that it is. */
  readonly version?: string | undefined;
  /** Done when its answer has been handed to the system, or can't be any more: what a server that stops waits for. */
  readonly sent?: Promise<unknown> | undefined;
}

/** Facts about a request. What `Deno.serve` gives its handler is one. */
export interface RequestInfo {
  /** Address it came from: without a token, only callers on the same machine are served. */
  readonly remoteAddr?: { readonly hostname?: string | undefined } | undefined;
  /** Done when the answer has been handed to the system: what a server that stops waits for. */
  readonly completed?: Promise<unknown> | undefined;
  /** The version of HTTP, such as `1.1`. Before 1.1 a broken answer looks whole, so such requests are refused. */
  readonly httpVersion?: string | undefined;
}

/** Reads what is known of a request. */
export const ofInfo = ({ remoteAddr, completed, httpVersion }: RequestInfo = {}): Arrival => ({
  from: remoteAddr?.hostname,
  version: httpVersion,
  sent: completed,
});
