/** Errors on the way through a proxy. */

/** A proxy could not be reached, or did not let a request through. */
export class ProxyError extends Error {
  override readonly name = "ProxyError";
  /** The status that the proxy answered, if it did. */
  readonly status: number | undefined;
  constructor(
    message: string,
    options: { readonly cause?: unknown; readonly status?: number | undefined } = {},
  ) {
    super(message, options);
    this.status = options.status;
  }
}

/** A variable of the environment names no proxy that could be used. */
export class ProxyNameError extends Error {
  override readonly name = "ProxyNameError";
}
