/** The codings that a body may have been compressed with: the names of `Content-Encoding`. */

/** Gives the codings of a header's value, in lower case and in the order they were applied. */
export const codingsOf = (header: string | undefined): ReadonlyArray<string> =>
  (header ?? "").toLowerCase().split(",").map((coding) => coding.trim())
    .filter((coding) => coding !== "" && coding !== "identity");

/** Tells whether bytes begin as a zlib stream does: servers call both that and plain deflate `deflate`. */
export const isZlib = (bytes: Uint8Array): boolean =>
  bytes.length > 1 && (bytes[0]! & 15) === 8 && (bytes[0]! * 256 + bytes[1]!) % 31 === 0;
