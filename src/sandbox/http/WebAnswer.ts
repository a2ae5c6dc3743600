/** Answers as web responses, broken ones included. */
import type { Answer } from "./Endpoint.ts";

const encoder = new TextEncoder();

/** Gives the bytes of an answer that arrive when half of them do. */
export const half = ({ body }: Answer): { readonly bytes: Uint8Array<ArrayBuffer>; readonly of: number } => {
  const bytes = encoder.encode(body);
  return { bytes: bytes.slice(0, bytes.length >> 1), of: bytes.length };
};

/** Makes a body that delivers its bytes, if any, and then fails as a broken connection does. */
const breaking = (bytes: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array<ArrayBuffer>> => {
  let left = bytes;
  return new ReadableStream({
    // An error drops what is queued: it has to wait until the bytes were taken, hence no read-ahead.
    pull(controller) {
      if (left.length === 0) return controller.error(new TypeError("The sandbox broke the connection"));
      controller.enqueue(left);
      left = left.subarray(0, 0);
    },
  }, { highWaterMark: 0 });
};

export const response = (answer: Answer): Response => {
  const { status, headers, body, broken } = answer;
  if (broken === undefined) return new Response(body, { status, headers });
  if (broken === "reset") return new Response(breaking(new Uint8Array()), { status, headers });
  const { bytes, of } = half(answer);
  return broken === "truncated"
    ? new Response(bytes, { status, headers })
    : new Response(breaking(bytes), { status, headers: { ...headers, "content-length": String(of) } });
};
