/**
 * Headers that every answer has for a browser: to guess at nothing, to run nothing, to be shown within no other page, to tell nobody
 * where it was, and to keep nothing.
 *
 * @module
 */

const policy = (...more: ReadonlyArray<string>): string =>
  ["default-src 'none'", ...more, "form-action 'none'", "frame-ancestors 'none'", "base-uri 'none'"].join(
    "; ",
  );

const defaults = {
  "cache-control": "no-store",
  "content-security-policy": policy(),
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
};

/** Give the headers of a page: scripts and styles from these sources alone, requests to the server alone, kept but revalidated. */
export const forPage = (
  { script = "'self'", style = "'self'" }: { readonly script?: string; readonly style?: string },
): Record<string, string> => ({
  "cache-control": "no-cache",
  "content-security-policy": policy(
    `script-src ${script}`,
    `style-src ${style}`,
    "img-src data:",
    "connect-src 'self'",
  ),
});

/** Adds what an answer does not say by itself. */
export const complete = ({ headers }: Response): void => {
  for (const [name, value] of Object.entries(defaults)) if (!headers.has(name)) headers.set(name, value);
};
