/** Memory for bytes that are about to be made, given by whoever takes them: what is laid there needs no copy. */

/** Gives a place for so many bytes, until it is asked again. */
export type Allocate = (length: number) => Uint8Array<ArrayBuffer>;

/** Allocate memory that is the caller's to keep. */
export const own: Allocate = (length) => new Uint8Array(length);
