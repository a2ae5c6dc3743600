/**
 * What is left of a request's body once its answer is known. Deno keeps the connection until all of it has come, however long
 * that takes, and can be made to close it in one way alone: by an answer that breaks off.
 *
 * @module
 */

/** The most that is read only to be rid of it, in bytes. */
const MOST = 1 << 20;

/** Reads a body to its end; false if that is too far off. */
const isOver = async (body: ReadableStream<Uint8Array>, seconds: number): Promise<boolean> => {
  const reader = body.getReader();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<false>((resolve) => (timer = setTimeout(() => resolve(false), seconds * 1000)));
  const read = async () => {
    for (let bytes = 0; bytes <= MOST;) {
      const next = await reader.read();
      if (next.done) return true;
      bytes += next.value.length;
    }
    return false;
  };
  const over = await Promise.race([read().catch(() => false), late]);
  clearTimeout(timer);
  reader.cancel().catch(() => {});
  return over;
};

/**
 * The same answer, for a server that waits for bodies: it ends once the request's has come, and breaks off, all of it sent, if
 * that takes longer than so many seconds. One that says that the connection is to be closed breaks off at once.
 */
export const bounded = (request: Request, response: Response, seconds: number): Response => {
  const isUnread = request.body !== null && !request.bodyUsed &&
    request.headers.get("content-length") !== "0";
  const isClosing = response.headers.get("connection") === "close";
  if (response.body === null || (!isUnread && !isClosing)) return response;
  const over = isUnread ? isOver(request.body, seconds) : Promise.resolve(false);
  const source = response.body.getReader();
  const body = new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      const { done, value } = await source.read();
      if (!done) controller.enqueue(value);
      else if (await over) controller.close();
      else controller.error(new Error("the body of the request did not come in time"));
    },
    cancel: (reason) => source.cancel(reason),
  }, { highWaterMark: 0 });
  const answer = new Response(body, response);
  // With a length the connection would be kept after the last byte.
  answer.headers.delete("content-length");
  return answer;
};
